//! Connections: accepted, limited, spoken to in HTTP/1.1 or HTTP/2, and drained at the end.
//!
//! [`Server::run`] accepts until it is told to stop; then nothing new is begun, requests that are
//! being answered end, and connections close. [`routes`] says who answers what.
//!
//! [`door`] is where TLS is: it makes a socket a connection that HTTP is spoken on.
//!
//! [`preface`] finds out which HTTP a client speaks, [`connection`] speaks it. Between that and hyper
//! lies the [`wire`], which ends what would wait for ever and reads with [`framing`] where messages
//! begin and end, with [`streams`] which answers have left, and with [`linger`] what still comes at an
//! end; between hyper and the routes an [`exchange`]. The two speak through the connection's [`tally`];
//! its [`quiet`] says when a client of HTTP/2 has read what has left. [`figures`] is who may read `/metrics`.
//!
//! In the program connections are served on threads of their own, the [`workers`].

mod connection;
mod deadline;
pub mod descriptors;
mod door;
mod exchange;
mod figures;
mod framing;
mod linger;
mod pace;
mod places;
mod preface;
mod quiet;
mod refusal;
mod routes;
mod streams;
mod tally;
mod wire;
pub mod workers;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{self, Config, Live};
use crate::message::Peer;
use connection::{Connection, Protocol};
use door::Door;
use exchange::Service;
use places::{Places, Seat};
pub use routes::{Phase, Routes};
use tally::{Rest, Tally};
use wire::Wire;
use workers::{Crew, Hold};

/// How long to wait before accepting again when the system refuses, say for want of descriptors.
const BACK_OFF: Duration = Duration::from_millis(50);

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
    protocol: Protocol,
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
            protocol: Protocol::new(settings),
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
        let open = TaskTracker::new();
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
            open.close();
            open.wait().await;
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
                                let _ = connection.speak(CancellationToken::new()).await;
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

    fn serve(&self, guest: Guest, open: &TaskTracker, stop: &CancellationToken) {
        let reception = self.reception.load();
        let (open, stop) = (open.token(), stop.clone());
        let counted = reception.routes.metrics().connection_opens();
        let host = async move |guest| {
            let _counted = (open, counted);
            // A handshake that has not ended when the program drains has asked for nothing. What it needs is
            // boxed, so that a connection does not hold it to its end.
            let received = Box::pin(stop.run_until_cancelled(reception.receive(guest))).await;
            let Some(connection) = received.flatten() else {
                return;
            };
            drop(reception);
            if let Err(error) = connection.speak(stop).await {
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
            protocol: Protocol::new(settings),
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
        // Whoever says nothing, or breaks off, is not spoken to.
        self.protocol.begin(wire, service).await.ok()
    }
}
