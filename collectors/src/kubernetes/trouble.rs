//! What goes wrong with an API server, in the words of whoever can mend it.

use std::fmt;
use std::time::Duration;

use crate::status::one_line;

/// What is asked for: a kind of object, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The resource as RBAC names it: `endpointslices`.
    pub resource: &'static str,
    /// Its API group; empty for the core.
    pub group: &'static str,
    /// One namespace; none for all of them, or for what has none.
    pub namespace: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} in namespace {namespace}", self.resource),
            None => write!(f, "{} in the whole cluster", self.resource),
        }
    }
}

/// What went wrong. Each is asked for again; what was known stands meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// 403.
    #[error(
        "may not {verb} {place}: give the service account the verbs {verbs} on resource {resource} \
         of API group \"{group}\" there",
        verbs = verbs(verb), resource = place.resource, group = place.group
    )]
    Forbidden {
        /// What was asked for.
        place: Place,
        /// `list`, `watch`, ...
        verb: &'static str,
    },
    /// 401.
    #[error(
        "the API server does not know who asks for {0}: its token has run out or is another \
         cluster's; mount the service account's token, or renew the kubeconfig"
    )]
    Unauthorized(Place),
    /// 404 for a whole kind of object.
    #[error(
        "the API server knows no {}: apply its definition (for policies: weir policy crd | kubectl \
         apply --server-side -f -)", .0.resource
    )]
    NotServed(Place),
    /// Any other refusal: 429, 500, 503.
    #[error("the API server answers {code} when asked for {place}: {message}; asking again")]
    Refused {
        /// What was asked for.
        place: Place,
        /// The HTTP status.
        code: u16,
        /// The server's own words.
        message: String,
        /// How long it wants to be left alone, if it says so.
        retry_after: Option<Duration>,
    },
    /// There was no answer, or it broke off.
    #[error("cannot get {place} from the API server: {cause}")]
    Unreachable {
        /// What was asked for.
        place: Place,
        /// Why.
        cause: String,
    },
    /// No answer in time, or a stream on which nothing comes any more.
    #[error("the API server has been silent about {place} for {seconds} s; connecting anew",
        seconds = after.as_secs())]
    Silent {
        /// What was asked for.
        place: Place,
        /// For how long.
        after: Duration,
    },
    /// More than is kept.
    #[error(
        "{place}: more than {most} objects; name the namespaces that matter: \
        kubernetes: {{namespaces: [...]}}"
    )]
    TooMany {
        /// What was asked for.
        place: Place,
        /// How many at most.
        most: usize,
    },
}

fn verbs(verb: &'static str) -> &'static str {
    if matches!(verb, "list" | "watch" | "get") { "get, list and watch" } else { verb }
}

impl Trouble {
    /// What an error of the client means.
    pub fn of(error: &kube::Error, place: &Place, verb: &'static str) -> Self {
        let place = place.clone();
        if let kube::Error::Api(status) = error {
            return Self::status(status, place, verb);
        }
        Self::Unreachable { place, cause: one_line(error) }
    }

    /// What an answer that is a refusal means.
    pub fn status(status: &kube::core::Status, place: Place, verb: &'static str) -> Self {
        match status.code {
            401 => Self::Unauthorized(place),
            403 => Self::Forbidden { place, verb },
            404 if matches!(verb, "list" | "watch") => Self::NotServed(place),
            code => Self::Refused {
                place,
                code,
                message: status.message.chars().take(200).collect(),
                retry_after: status
                    .details
                    .as_ref()
                    .map(|details| u64::from(details.retry_after_seconds))
                    .filter(|seconds| *seconds > 0)
                    .map(Duration::from_secs),
            },
        }
    }

    /// How long the server wants to be left alone, if it says so.
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Refused { retry_after, .. } = self { *retry_after } else { None }
    }
}
