//! nginx, where it is installed: a cache by the request's body, and a reverse proxy.

use std::path::Path;
use std::process::Command;

use crate::process::{Process, free_address};
use crate::world::World;

use super::installed;

/// nginx before one of the upstreams; `None` where it is not installed.
pub(crate) async fn start(world: &World, secure: bool) -> Option<Process> {
    let program = installed("nginx")?;
    let (folder, address) = (world.folder(), free_address());
    let upstream = if secure {
        (world.secure.address, "https")
    } else {
        (world.upstream.address, "http")
    };
    let text = TEMPLATE
        .replace("@USER@", user())
        .replace("@FOLDER@", &folder.display().to_string())
        .replace("@LISTEN@", &address.to_string())
        .replace("@UPSTREAM@", &upstream.0.to_string())
        .replace("@SCHEME@", upstream.1)
        .replace("@AUTHORITY@", &world.authority.display().to_string());
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(program);
    command.arg("-p").arg(&folder).arg("-c").arg(&file);
    Some(Process::start_at(&mut command, &folder, address).await)
}

/// The version, as it says it itself.
pub(crate) fn version() -> Option<String> {
    let said = Command::new(installed("nginx")?).arg("-v").output().ok()?;
    let said = String::from_utf8_lossy(&said.stderr);
    Some(said.trim().rsplit('/').next()?.to_owned())
}

/// Its workers have to be able to read our folder, whoever we are.
fn user() -> &'static str {
    let root = rustix::process::geteuid().is_root();
    if root && Path::new("/root").exists() {
        "user root;"
    } else {
        ""
    }
}

const TEMPLATE: &str = r#"
@USER@
daemon off;
worker_processes auto;
worker_rlimit_nofile 65536;
pid @FOLDER@/nginx.pid;
error_log stderr crit;
events { worker_connections 16384; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_requests 100000000;
  open_file_cache max=10000 inactive=60s;
  client_max_body_size 1g;
  client_body_buffer_size 64k;
  client_body_temp_path @FOLDER@/body;
  proxy_temp_path @FOLDER@/proxy;
  fastcgi_temp_path @FOLDER@/fastcgi;
  uwsgi_temp_path @FOLDER@/uwsgi;
  scgi_temp_path @FOLDER@/scgi;
  proxy_cache_path @FOLDER@/cache levels=2 keys_zone=kept:64m max_size=10g use_temp_path=off;
  upstream api { server @UPSTREAM@; keepalive 128; keepalive_requests 100000000; }
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_ssl_trusted_certificate @AUTHORITY@;
  proxy_ssl_verify on;
  proxy_ssl_name localhost;
  server {
    listen @LISTEN@ backlog=4096;
    location / { proxy_pass @SCHEME@://api; }
    location /v1/responses/ { proxy_pass @SCHEME@://api; proxy_buffering off; }
    location /v1/files { proxy_pass @SCHEME@://api; proxy_buffering off; proxy_request_buffering off; }
    location /v1/chat/ {
      proxy_pass @SCHEME@://api;
      proxy_cache kept;
      proxy_cache_methods POST;
      proxy_cache_key "$request_uri|$request_body";
      proxy_cache_valid 200 1h;
      proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;
      add_header X-Cache $upstream_cache_status;
    }
  }
}
"#;
