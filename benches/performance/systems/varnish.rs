//! Varnish, where it is installed: a cache in memory, asked with GET, which is all that it keeps by itself.

use std::process::Command;

use crate::process::{Process, free_address};
use crate::world::World;

use super::installed;

/// Varnish before the plain upstream; `None` where it is not installed.
pub(crate) async fn start(world: &World) -> Option<Process> {
    let program = installed("varnishd")?;
    let (folder, address) = (world.folder(), free_address());
    let upstream = world.upstream.address;
    let text = TEMPLATE
        .replace("@HOST@", &upstream.ip().to_string())
        .replace("@PORT@", &upstream.port().to_string());
    let file = folder.join("default.vcl");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(program);
    command
        .args(["-F", "-j", "none", "-s", "malloc,512m", "-T", "none"])
        .arg("-a")
        .arg(address.to_string())
        .arg("-n")
        .arg(folder.join("work"))
        .arg("-f")
        .arg(&file);
    Some(Process::start_at(&mut command, &folder, address).await)
}

/// The version, as it says it itself.
pub(crate) fn version() -> Option<String> {
    let said = Command::new(installed("varnishd")?)
        .arg("-V")
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let (_, rest) = said.split_once("(varnish-")?;
    Some(rest.split_whitespace().next()?.to_owned())
}

const TEMPLATE: &str = r#"vcl 4.1;
backend api { .host = "@HOST@"; .port = "@PORT@"; }
sub vcl_recv { unset req.http.Authorization; unset req.http.Cookie; }
sub vcl_backend_response { set beresp.ttl = 1h; }
"#;
