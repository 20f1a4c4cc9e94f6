//! Connections: accepted, limited, spoken to in HTTP/1.1 or HTTP/2, and drained at the end.
//!
//! [`Server::run`] accepts until it is told to stop; then nothing new is begun, requests that are
//! being answered end, and connections close. [`routes`] says who answers what.
//!
//! [`door`] is where TLS is: it makes a socket a connection that HTTP is spoken on.
//!
//! Between that and hyper lies the [`wire`], which ends what would wait for ever and reads
//! with [`framing`] where messages begin and end; between hyper and the routes an [`exchange`].
//! The two speak through the connection's [`tally`]. [`figures`] is who may read `/metrics`.
//!
//! In the program connections are served on threads of their own, the [`workers`].

mod deadline;
pub mod descriptors;
mod door;
mod exchange;
mod figures;
mod framing;
mod pace;
mod places;
mod refusal;
mod routes;
mod tally;
mod wire;
pub mod workers;

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, Live};
use crate::message::Peer;
use door::{Door, Line};
use exchange::Service;
use places::{Places, Seat};
pub use routes::{Phase, Routes};
use tally::{Rest, Tally};
use wire::Wire;
use workers::{Crew, Hold};

/// How long to wait before accepting again when the system refuses, say for want of descriptors.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What one HTTP/2 stream may hold of an answer that its client does not take yet, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

type Connection = auto::UpgradeableConnection<'static, TokioIo<Wire<Line>>, Service, TokioExecutor>;

/// A bound socket and what answers on it.
pub struct Server {
    listener: TcpListener,
    places: Arc<Places>,
    reception: Live<Reception>,
    crew: Option<Crew>,
}

/// The terms on which connections are taken while the server runs.
pub struct Terms {
    places: Arc<Places>,
    reception: Live<Reception>,
}

impl Terms {
    /// Takes connections on other terms from the next one on. Those that are open keep theirs, and
    /// their places.
    pub fn reload(&self, settings: &config::Server, patience: Patience) {
        self.places.resize(settings.max_connections);
        let reception = self.reception.load().renewed(settings, patience);
        self.reception.set(reception);
    }
}

/// What every connection goes through.
struct Reception {
    routes: Arc<Routes>,
    protocol: auto::Builder<TokioExecutor>,
    largest_head: usize,
    patience: Patience,
    door: Door,
}

/// Somebody who has come in, with a place.
struct Guest {
    stream: TcpStream,
    peer: Peer,
    tally: Arc<Tally>,
    seat: Seat,
    /// On the thread where it is served, if that is a worker's.
    hold: Option<Hold>,
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
        let reception = Reception {
            routes,
            protocol: protocol(settings),
            largest_head: settings.max_header_bytes,
            patience,
            // A handshake may take as long as a head.
            door: Door::new(tls, patience.head),
        };
        Self {
            listener,
            places: Places::new(settings.max_connections),
            reception: Live::new(reception),
            crew: None,
        }
    }

    /// Serves connections on the threads of `crew`; without one, on those of the runtime that it runs on.
    #[must_use]
    pub fn with_crew(mut self, crew: Crew) -> Self {
        self.crew = Some(crew);
        self
    }

    /// What can be changed while it runs.
    pub fn terms(&self) -> Terms {
        Terms {
            places: self.places.clone(),
            reception: self.reception.clone(),
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
            if let Some(guest) = accepted {
                self.serve(guest, &open, &stop);
            }
        }
        let over = async {
            open.shutdown().await;
            rest.await;
        };
        tokio::select! {
            () = over => {}
            () = self.turn_away() => {}
            () = self.places.dismiss() => {}
        }
    }

    /// Serves whoever comes while the program drains: a supervisor that asks `/readyz` has to be
    /// answered, and nobody waits for these connections. They are few, and stay where they were accepted.
    async fn turn_away(&self) {
        let mut late = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = late.join_next() => {}
                accepted = self.accept() => {
                    if let Some(guest) = accepted {
                        let reception = self.reception.load();
                        late.spawn(async move {
                            if let Some(connection) = reception.receive(guest).await {
                                // How it ends is nobody's concern any more.
                                let _ = connection.await;
                            }
                        });
                    }
                }
            }
        }
    }

    /// The next connection, once there is a place for it.
    async fn accept(&self) -> Option<Guest> {
        match self.listener.accept().await {
            Ok((stream, peer)) => {
                // Fails only for a connection that is over already.
                let to = stream.local_addr().ok()?;
                let tally = Arc::new(Tally::default());
                let seat = self.places.seat(peer, &tally).await;
                if seat.is_none() {
                    let reception = self.reception.load();
                    reception.routes.metrics().refused("connections");
                    tracing::debug!(%peer, "an address has its share of connections");
                }
                Some(Guest {
                    stream,
                    peer: Peer { from: peer, to },
                    tally,
                    seat: seat?,
                    hold: None,
                })
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BACK_OFF).await;
                None
            }
        }
    }

    fn serve(&self, guest: Guest, open: &GracefulShutdown, stop: &CancellationToken) {
        let reception = self.reception.load();
        let (watcher, stop) = (open.watcher(), stop.clone());
        let counted = reception.routes.metrics().connection_opens();
        let host = async move |guest| {
            let _counted = counted;
            // A handshake that has not ended when the program drains has asked for nothing. What it needs is
            // boxed, so that a connection does not hold it to its end.
            let received = Box::pin(stop.run_until_cancelled(reception.receive(guest))).await;
            let Some(connection) = received.flatten() else {
                return;
            };
            drop((reception, stop));
            if let Err(error) = Box::pin(watcher.watch(connection)).await {
                tracing::debug!(%error, "a connection ended early");
            }
        };
        match &self.crew {
            None => drop(tokio::spawn(host(guest))),
            Some(crew) => crew.host(guest.stream, move |stream, hold| {
                let hold = Some(hold);
                host(Guest {
                    stream,
                    hold,
                    ..guest
                })
            }),
        }
    }
}

impl Reception {
    fn renewed(&self, settings: &config::Server, patience: Patience) -> Self {
        Self {
            routes: self.routes.clone(),
            protocol: protocol(settings),
            largest_head: settings.max_header_bytes,
            patience,
            door: self.door.renewed(patience.head),
        }
    }

    /// `None` when there is nobody to speak HTTP with.
    async fn receive(&self, guest: Guest) -> Option<Connection> {
        let Guest {
            stream,
            peer,
            tally,
            seat,
            hold,
        } = guest;
        // Who is in the middle of a handshake has not said anything yet.
        tally.rest(Rest::Unspoken);
        let line = tokio::select! {
            line = self.door.open(stream) => line?,
            () = tally.sent_away() => return None,
        };
        let wire = Wire::new(line, tally.clone(), self.patience)
            .counted(self.routes.metrics())
            .seated(seat, hold);
        let service = Service {
            routes: self.routes.clone(),
            tally,
            idle: self.patience.body,
            peer,
            largest_head: self.largest_head,
        };
        let protocol = &self.protocol;
        let connection = protocol.serve_connection_with_upgrades(TokioIo::new(wire), service);
        Some(connection.into_owned())
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
        .max_buf_size(largest.max(8192));
    protocol
        .http2()
        .timer(TokioTimer::new())
        // What is only a little too large gets here, and is told so by us.
        .max_header_list_size(u32::try_from(largest.saturating_mul(2)).unwrap_or(u32::MAX))
        .max_concurrent_streams(100)
        .max_send_buf_size(SEND_BUFFER)
        // Streams that a client opens and resets, or makes us reset, before anyone has looked at
        // them (CVE-2023-44487, CVE-2025-8671); beyond, the connection is closed.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(200)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    protocol
}
