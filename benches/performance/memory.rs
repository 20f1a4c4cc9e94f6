//! Resident memory of a process and of its children.

use std::fs;

use crate::cpu::family;

/// What is in memory now, in KiB; pages that several share count once for each.
pub(crate) fn resident(pid: u32) -> u64 {
    said(pid, "VmRSS:")
}

/// The most that ever was since [`forget_peak`], in KiB.
pub(crate) fn peak(pid: u32) -> u64 {
    said(pid, "VmHWM:")
}

/// Begins to count the most anew; says whether the system lets us.
pub(crate) fn forget_peak(pid: u32) -> bool {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

fn said(pid: u32, name: &str) -> u64 {
    let of = |pid: String| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let said = status.lines().find_map(|line| line.strip_prefix(name))?;
        let digits = said.trim().strip_suffix(" kB")?;
        digits.parse::<u64>().ok()
    };
    family(pid).into_iter().filter_map(of).sum()
}
