//! The frames of a WebSocket (RFC 6455 §5), as a server sees them.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The largest message, in bytes.
const LARGEST: usize = 16 * 1024 * 1024;
/// The largest payload of a frame that is no message (§5.5).
const LARGEST_CONTROL: usize = 125;
/// How long the client may take to hang up once both have said goodbye.
const LAST_WORDS: Duration = Duration::from_secs(2);

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// Why the connection ends (§7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Against the rules.
    Protocol,
    /// Text that is not UTF-8.
    NotText,
    /// A message beyond [`LARGEST`].
    TooLarge,
}

/// What is said back as the last thing: nothing, or a code and a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close(Vec<u8>);

impl Close {
    /// The goodbye to a client that broke a rule.
    pub(super) fn with(problem: Problem) -> Self {
        let code: u16 = match problem {
            Problem::Protocol => 1002,
            Problem::NotText => 1007,
            Problem::TooLarge => 1009,
        };
        Self(code.to_be_bytes().to_vec())
    }

    /// The answer to a client's goodbye: the same.
    fn read(payload: Vec<u8>) -> Result<Self, Problem> {
        let code = match payload.get(..2) {
            None if payload.is_empty() => return Ok(Self(payload)),
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            Some(_) | None => return Err(Problem::Protocol),
        };
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            return Err(Problem::Protocol);
        }
        let reason = payload.get(2..).unwrap_or_default();
        if std::str::from_utf8(reason).is_err() {
            return Err(Problem::NotText);
        }
        Ok(Self(payload))
    }
}

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A text or some bytes, put together from its frames.
    Message {
        opcode: u8,
        payload: Vec<u8>,
    },
    Ping(Vec<u8>),
    Pong,
    Close(Close),
}

/// One connection.
pub(super) struct Talk<S> {
    stream: S,
    /// The message whose last frame has not come.
    begun: Option<(u8, Vec<u8>)>,
}

struct Frame {
    last: bool,
    opcode: u8,
    payload: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            begun: None,
        }
    }

    /// What is said next.
    ///
    /// # Errors
    /// When the connection breaks off; inside, when the client broke a rule.
    pub(super) async fn hear(&mut self) -> io::Result<Result<Said, Problem>> {
        loop {
            let frame = match self.frame().await? {
                Ok(frame) => frame,
                Err(problem) => return Ok(Err(problem)),
            };
            if let Some(said) = self.take(frame).transpose() {
                return Ok(said);
            }
        }
    }

    /// What `frame` says; `None` when there is more to come.
    fn take(&mut self, frame: Frame) -> Result<Option<Said>, Problem> {
        let (opcode, mut message) = match (frame.opcode, self.begun.take()) {
            (PING, begun) => {
                self.begun = begun;
                return Ok(Some(Said::Ping(frame.payload)));
            }
            (PONG, begun) => {
                self.begun = begun;
                return Ok(Some(Said::Pong));
            }
            (CLOSE, _) => return Ok(Some(Said::Close(Close::read(frame.payload)?))),
            (CONTINUATION, Some(begun)) => begun,
            (TEXT | BINARY, None) => (frame.opcode, Vec::new()),
            _ => return Err(Problem::Protocol),
        };
        if message.len() + frame.payload.len() > LARGEST {
            return Err(Problem::TooLarge);
        }
        message.extend(frame.payload);
        if !frame.last {
            self.begun = Some((opcode, message));
            return Ok(None);
        }
        if opcode == TEXT && std::str::from_utf8(&message).is_err() {
            return Err(Problem::NotText);
        }
        let payload = message;
        Ok(Some(Said::Message { opcode, payload }))
    }

    async fn frame(&mut self) -> io::Result<Result<Frame, Problem>> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).await?;
        let [first, second] = head;
        let (opcode, masked) = (first & 0x0f, second & 0x80 != 0);
        let (last, reserved) = (first & 0x80 != 0, first & 0x70);
        let is_control = opcode >= CLOSE;
        let length = match second & 0x7f {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            short => u64::from(short),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if reserved != 0 || !masked || (is_control && (!last || length > LARGEST_CONTROL)) {
            return Ok(Err(Problem::Protocol));
        }
        if length > LARGEST {
            return Ok(Err(Problem::TooLarge));
        }
        let mut mask = [0; 4];
        self.stream.read_exact(&mut mask).await?;
        let mut payload = Vec::new();
        let mut part = (&mut self.stream).take(length as u64);
        if part.read_to_end(&mut payload).await? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        Ok(Ok(Frame {
            last,
            opcode,
            payload,
        }))
    }

    /// Says something in one frame.
    pub(super) async fn say(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![0x80 | opcode];
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(short), _) if short < 126 => frame.push(short),
            (_, Ok(length)) => {
                frame.push(126);
                frame.extend(length.to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    /// Says goodbye and hangs up, once the client has had the time to read it.
    pub(super) async fn close(mut self, close: &Close) -> io::Result<()> {
        self.say(CLOSE, &close.0).await?;
        self.stream.shutdown().await?;
        let mut nowhere = tokio::io::sink();
        let rest = tokio::io::copy(&mut self.stream, &mut nowhere);
        // Whether it hangs up in time is its own business.
        let _ = tokio::time::timeout(LAST_WORDS, rest).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
