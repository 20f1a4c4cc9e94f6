//! Connections: accepted, limited, spoken to in HTTP/1.1 or HTTP/2, and drained at the end.
//!
//! [`Server::run`] accepts until it is told to stop; then nothing new is begun, requests that are
//! being answered end, and connections close. [`routes`] says who answers what.
//!
//! [`door`] is where TLS is: it makes a socket a connection that HTTP is spoken on.
//!
//! Between that and hyper lies the [`wire`], which ends what would wait for ever and reads
//! with [`framing`] where messages begin and end; between hyper and the routes an [`exchange`].
//! The two speak through the connection's [`tally`].

mod deadline;
mod door;
mod exchange;
mod framing;
mod routes;
mod tally;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use door::{Door, Line};
use exchange::Service;
pub use routes::{Phase, Routes};
use tally::Tally;
use wire::Wire;

/// How long to wait before accepting again when the system refuses, say for want of descriptors.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Headers of one request over HTTP/1.1, whatever their size; `max_header_bytes` bounds that.
const MOST_HEADERS: usize = 1024;

type Connection = auto::UpgradeableConnection<'static, TokioIo<Wire<Line>>, Service, TokioExecutor>;

/// A bound socket and what answers on it.
pub struct Server {
    listener: TcpListener,
    places: Arc<Semaphore>,
    reception: Arc<Reception>,
}

/// What every connection goes through.
struct Reception {
    routes: Arc<Routes>,
    protocol: auto::Builder<TokioExecutor>,
    patience: Patience,
    door: Door,
}

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    head: Duration,
    body: Duration,
}

impl Patience {
    /// For heads as `server.header_timeout` says, for bodies as `upstream.idle_timeout` does.
    pub fn of(config: &Config) -> Self {
        Self {
            head: config.server.header_timeout,
            body: config.upstream.idle_timeout,
        }
    }
}

impl Server {
    /// Serves `routes` on a socket that is bound already, so that whoever binds it knows its port:
    /// HTTPS and nothing else with `tls`, plain HTTP without.
    pub fn new(
        listener: TcpListener,
        routes: Arc<Routes>,
        settings: &config::Server,
        patience: Patience,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(settings.max_connections));
        let reception = Reception {
            routes,
            protocol: protocol(settings),
            patience,
            // A handshake may take as long as a head.
            door: Door::new(tls, patience.head),
        };
        Self {
            listener,
            places,
            reception: Arc::new(reception),
        }
    }

    /// Accepts until `stop`; then waits for the answers that are under way and for `rest`, as long as
    /// it is polled. Meanwhile whoever comes is told that nothing new is begun.
    pub async fn run(self, stop: CancellationToken, rest: impl Future<Output = ()>) {
        let open = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.accept() => accepted,
            };
            if let Some((stream, place)) = accepted {
                self.serve(stream, place, &open, &stop);
            }
        }
        let over = async {
            open.shutdown().await;
            rest.await;
        };
        tokio::select! {
            () = over => {}
            () = self.turn_away() => {}
        }
    }

    /// Serves whoever comes while the program drains: a supervisor that asks `/readyz` has to be
    /// answered, and nobody waits for these connections.
    async fn turn_away(&self) {
        let mut late = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = late.join_next() => {}
                accepted = self.accept() => {
                    if let Some((stream, place)) = accepted {
                        let reception = self.reception.clone();
                        late.spawn(async move {
                            if let Some(line) = reception.door.open(stream).await {
                                // How it ends is nobody's concern any more.
                                let _ = reception.connection(line, place).await;
                            }
                        });
                    }
                }
            }
        }
    }

    /// The next connection, once there is a place for it.
    async fn accept(&self) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let place = self.places.clone().acquire_owned().await.ok()?;
        match self.listener.accept().await {
            Ok((stream, _)) => Some((stream, place)),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BACK_OFF).await;
                None
            }
        }
    }

    fn serve(
        &self,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
        open: &GracefulShutdown,
        stop: &CancellationToken,
    ) {
        let reception = self.reception.clone();
        let (watcher, stop) = (open.watcher(), stop.clone());
        tokio::spawn(async move {
            // A handshake that has not ended when the program drains has asked for nothing.
            let line = stop.run_until_cancelled(reception.door.open(stream)).await;
            if let Some(line) = line.flatten()
                && let Err(error) = watcher.watch(reception.connection(line, place)).await
            {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}

impl Reception {
    fn connection(&self, line: Line, place: OwnedSemaphorePermit) -> Connection {
        let tally = Arc::new(Tally::holding(place));
        let wire = Wire::new(line, tally.clone(), self.patience);
        let service = Service {
            routes: self.routes.clone(),
            tally,
            idle: self.patience.body,
        };
        let protocol = &self.protocol;
        let connection = protocol.serve_connection_with_upgrades(TokioIo::new(wire), service);
        connection.into_owned()
    }
}

fn protocol(settings: &config::Server) -> auto::Builder<TokioExecutor> {
    let mut protocol = auto::Builder::new(TokioExecutor::new());
    let largest = settings.max_header_bytes;
    protocol
        .http1()
        .timer(TokioTimer::new())
        // The wire keeps time: hyper's limit would also end connections that are idle.
        .header_read_timeout(None)
        .preserve_header_case(true)
        .max_headers(MOST_HEADERS)
        .max_buf_size(largest.max(8192));
    protocol
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(largest).unwrap_or(u32::MAX))
        .max_concurrent_streams(100)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    protocol
}
