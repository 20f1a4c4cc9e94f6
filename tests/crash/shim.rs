//! The library between the program and its disk, built by the system's C compiler.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::dice::Dice;
use crate::home::Home;
use crate::power::{Cut, Disk};
use crate::program::Launch;

/// The built library; it goes when this is dropped.
pub(crate) struct Shim {
    library: PathBuf,
    _folder: TempDir,
}

/// What the disk does wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    /// Which changing call fails, counted from one.
    pub(crate) call: u64,
    pub(crate) errno: i32,
    /// All later calls that need room fail as well.
    pub(crate) sticky: bool,
    /// The index has its own calls counted and failing too.
    pub(crate) index: bool,
}

impl Shim {
    /// `None` where there is no compiler and nobody insists on one.
    pub(crate) fn build() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("shim.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crash/shim.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(source)
            .args(["-ldl", "-pthread"])
            .output();
        match built {
            Ok(output) if output.status.success() => Some(Self {
                library,
                _folder: folder,
            }),
            Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => {
                let required = std::env::var_os("REPRISE_REQUIRE_CLIENTS").is_some();
                assert!(!required, "no C compiler: cc: {error}");
                println!("LEFT OUT: no C compiler (cc: {error})");
                None
            }
        }
    }

    fn before(&self, launch: &Launch) -> Launch {
        launch
            .with("LD_PRELOAD", self.library.display().to_string())
            .with("SHIM_ROOT", launch.data.display().to_string())
    }

    /// On a disk that fails.
    pub(crate) fn failing(&self, launch: &Launch, failure: Failure) -> Launch {
        let mut launch = self
            .before(launch)
            .with("SHIM_FAIL", failure.call.to_string())
            .with("SHIM_ERRNO", failure.errno.to_string());
        if failure.sticky {
            launch = launch.with("SHIM_STICKY", "1");
        }
        if !failure.index {
            let index = launch.data.join("index").display().to_string();
            launch = launch.with("SHIM_SKIP", index);
        }
        launch
    }

    /// On a disk whose files in one folder of the data cannot be read.
    pub(crate) fn unreadable(&self, launch: &Launch, folder: &str) -> Launch {
        let folder = launch.data.join(folder).display().to_string();
        self.before(launch).with("SHIM_UNREADABLE", folder)
    }

    /// On a disk that will have done no more than it had to.
    pub(crate) fn life(&self, home: &Home) -> (Launch, Life) {
        let life = Life {
            disk: Disk::of(&home.launch.data),
            log: home.path().join("calls"),
        };
        let log = life.log.display().to_string();
        (self.before(&home.launch).with("SHIM_LOG", log), life)
    }
}

/// One life of a program, with what was safe before it and every call since.
pub(crate) struct Life {
    disk: Disk,
    log: PathBuf,
}

impl Life {
    /// The power is gone: only what was safe stays.
    pub(crate) fn cut(mut self, home: &Home, how: Cut, dice: &mut Dice) {
        // None, when it ended before its first call.
        let calls = fs::read(&self.log).unwrap_or_default();
        self.disk.replay(&calls);
        self.disk.cut(&home.launch.data, how, dice);
        let _ = fs::remove_file(&self.log);
    }
}
