//! The proxy itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::process::Process;
use crate::world::World;

/// A proxy that is not started yet.
pub(crate) struct Proxy<'a> {
    world: &'a World,
    home: PathBuf,
    upstream: String,
    listen: SocketAddr,
    log: String,
    more: &'static str,
}

impl<'a> Proxy<'a> {
    /// Before the plain upstream, with an empty folder, as it is delivered.
    pub(crate) fn new(world: &'a World) -> Self {
        Self {
            world,
            home: world.folder(),
            upstream: format!("http://{}/v1", world.upstream.address),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            log: world.options.log.clone(),
            more: "",
        }
    }

    /// Before the upstream with TLS.
    pub(crate) fn secure(mut self) -> Self {
        self.upstream = format!("https://{}/v1", self.world.secure.address);
        self
    }

    /// With a folder that was filled before.
    pub(crate) fn at_home(mut self, home: PathBuf) -> Self {
        self.home = home;
        self
    }

    /// At an address that is known before it is reached.
    pub(crate) fn listening_at(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Without a line for each request.
    pub(crate) fn quiet(mut self) -> Self {
        "warn".clone_into(&mut self.log);
        self
    }

    /// With further lines in its file.
    pub(crate) fn with(mut self, lines: &'static str) -> Self {
        self.more = lines;
        self
    }

    /// Starts it, and waits until it says that it listens.
    pub(crate) async fn start(self) -> Process {
        Process::start(&mut self.command(), &self.home).await
    }

    /// Starts it, and waits for nothing.
    pub(crate) fn spawn(self) -> Process {
        Process::spawn(&mut self.command(), &self.home, self.listen)
    }

    fn command(&self) -> Command {
        let file = self.home.join("proxy.toml");
        let text = format!(
            "data_dir = \"data\"\nlisten = \"{}\"\n[upstream]\nbase_url = \"{}\"\nca_file = \"{}\"\n\
             [cache]\nmin_free = 0\n[log]\nlevel = \"{}\"\n{}\n",
            self.listen,
            self.upstream,
            self.world.authority.display(),
            self.log,
            self.more,
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(&self.world.options.program);
        command
            .args(["serve", "--config"])
            .arg(file)
            .current_dir(&self.home)
            .env_clear()
            .env("HOME", &self.home)
            .env("RELAYDANCE_API_KEY", "sk-of-the-upstream");
        command
    }
}
