//! What a person tells a running Weir: words on offers, over a socket in the data folder.
//!
//! The API on TCP only reads: whoever can reach a port is nobody in particular. The socket is a file
//! that only the user who runs Weir may open, the kernel says who is at its other end, and it needs
//! no network, no certificate and no login, in the night when these are what is broken.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::IncomingStream;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use weir_dashboard::web::problem::Problem;
use weir_engine::approval::{OfferId, Word};
use weir_engine::units::Moment;

use crate::clock::Clock;
use crate::config::parse_duration;

/// The socket's name in the data folder.
pub const SOCKET: &str = "weir.sock";

/// Where words are said.
pub const APPROVALS: &str = "/api/v1/approvals";

/// How long an approval lasts if nobody says.
pub const LASTS: Duration = Duration::from_secs(3_600);

/// No approval lasts longer: what is wanted for ever is a policy in Enforce.
const LASTS_MOST: Duration = Duration::from_secs(30 * 86_400);

/// The next step answers; it comes within a tick, which is a minute at most.
const ANSWERED_WITHIN: Duration = Duration::from_secs(70);

/// A name is no novel.
const BY_MOST: usize = 200;

/// What is asked.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Asked {
    /// The offer's name, or the approval's.
    pub offer: String,
    /// For how long, as `90s` or `1h30m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
    /// Whether the approval is taken back.
    #[serde(default)]
    pub withdraw: bool,
    /// Who asks, in their own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// The offer's name.
    pub id: String,
    /// Until when it may be done; none where it was taken back, or is a step that stays taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// What may be done.
    pub text: String,
}

/// Why a word was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing of this name waits or is approved.
    Unknown {
        /// What waits of the same service.
        current: Option<OfferId>,
    },
    /// It waits, so it cannot be taken back.
    NotApproved,
    /// The journal cannot be written.
    Unrecorded,
    /// Another replica decides.
    Follows,
}

/// A word on its way to the loop, which answers with its next step.
#[derive(Debug)]
pub struct Said {
    /// The word.
    pub word: Word,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Done, Refusal>>,
}

/// Who is at the other end, by number.
#[derive(Clone, Copy, Debug)]
struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|who| who.uid()))
    }
}

#[derive(Clone, Debug)]
struct Shared {
    said: mpsc::Sender<Said>,
    clock: Clock,
    own: u32,
}

/// Makes the socket. One that an earlier life left is removed: the data folder is taken, so nobody
/// answers there.
///
/// # Errors
///
/// Says what cannot be done with which file; a path of more than some hundred bytes is no socket.
pub fn bind(data_dir: &Path) -> io::Result<UnixListener> {
    let path = data_dir.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers on the socket until `ended`; what only reads is answered by `api`.
///
/// # Errors
///
/// None that end it: axum goes on after a refused accept.
pub async fn serve(
    listener: UnixListener,
    (said, clock): (mpsc::Sender<Said>, Clock),
    api: Router,
    ended: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let shared = Shared { said, clock, own: rustix::process::geteuid().as_raw() };
    let router = Router::new()
        .route(APPROVALS, post(approve))
        .layer(DefaultBodyLimit::max(16 * 1024))
        .with_state(shared)
        .fallback_service(api);
    let service = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).with_graceful_shutdown(ended).await
}

async fn approve(
    State(shared): State<Shared>,
    ConnectInfo(Peer(uid)): ConnectInfo<Peer>,
    Json(asked): Json<Asked>,
) -> Result<Json<Done>, Problem> {
    let uid = uid.filter(|uid| *uid == shared.own || *uid == 0).ok_or_else(|| {
        problem(StatusCode::FORBIDDEN, "stranger", "only the user who runs Weir may approve")
    })?;
    let word = word(&asked, uid, shared.clock.now())?;
    let id = OfferId { service: word.service.clone(), number: word.offer };
    let (answer, answered) = oneshot::channel();
    let sent = shared.said.send(Said { word, answer }).await.is_ok();
    match tokio::time::timeout(ANSWERED_WITHIN, answered).await {
        Ok(Ok(Ok(done))) if sent => Ok(Json(done)),
        Ok(Ok(Err(refusal))) => Err(refused(&id, refusal)),
        Ok(Ok(Ok(_)) | Err(_)) | Err(_) => Err(problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "Weir is stopping, or its loop stands still: look at its log, and ask again",
        )),
    }
}

/// What is meant, or what is wrong with it.
fn word(asked: &Asked, uid: u32, now: Moment) -> Result<Word, Problem> {
    let wrong = |detail: &str| problem(StatusCode::BAD_REQUEST, "bad-approval", detail);
    let OfferId { service, number } =
        asked.offer.parse().map_err(|error| wrong(&format!("{:?}: {error}", asked.offer)))?;
    let lasts = match &asked.lasts {
        None => LASTS,
        Some(text) => parse_duration(text)
            .filter(|lasts| (Duration::from_secs(1)..=LASTS_MOST).contains(lasts))
            .ok_or_else(|| wrong(&format!("lasts: {text:?}: write 1s to 720h, as 90s or 1h30m")))?,
    };
    let name = asked.by.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let name: String = name.unwrap_or("somebody").chars().take(BY_MOST).collect();
    Ok(Word {
        service,
        offer: number,
        until: (!asked.withdraw).then(|| now.plus(lasts)),
        by: format!("{name} (uid {uid})"),
    })
}

fn refused(id: &OfferId, refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Unknown { current } => {
            let mend = current.map_or_else(
                || format!("nothing of {} waits; weir approve lists what does", id.service),
                |current| format!("now it is {current}: look at it, since it is another"),
            );
            let detail = format!("{id} is not offered any more, or never was; {mend}");
            problem(StatusCode::CONFLICT, "not-offered", &detail)
        }
        Refusal::NotApproved => {
            let detail = format!(
                "{id} is not approved, so there is nothing to take back; a rollout's steps are taken \
                 for good, and end with the policy's suspend: true"
            );
            problem(StatusCode::CONFLICT, "not-approved", &detail)
        }
        Refusal::Follows => problem(
            StatusCode::CONFLICT,
            "not-leading",
            "another replica decides: see who holds the lease, and approve there",
        ),
        Refusal::Unrecorded => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "unrecorded",
            "the journal cannot be written, so nothing is approved: free space there first",
        ),
    }
}

/// A problem as the API tells it.
pub fn problem(status: StatusCode, kind: &str, detail: &str) -> Problem {
    Problem {
        kind: format!("urn:weir:problem:{kind}"),
        title: status.canonical_reason().unwrap_or_default().to_owned(),
        status: status.as_u16(),
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests;
