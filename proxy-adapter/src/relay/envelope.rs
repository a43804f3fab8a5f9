//! Discovery messages of a foreign server and its clients, read and changed at the wire.
//!
//! A message is mostly somebody else's: of a response the resources that an opinion is about, of a request
//! the versions and nonces that are the relay's own. All else goes through byte for byte.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::fields::{Fields, Malformed, inner, put_bytes, rewritten, text};
use crate::session::Dialect;

// envoy.service.discovery.v3, fields of both responses.
const VERSION: u32 = 1;
const RESOURCES: u32 = 2;
const TYPE: u32 = 4;
const NONCE: u32 = 5;
const REMOVED: u32 = 6;
// Of a resource in an incremental response.
const RESOURCE_VERSION: u32 = 1;
const RESOURCE_BODY: u32 = 2;
const RESOURCE_NAME: u32 = 3;
// Of google.protobuf.Any.
const TYPE_OF_ANY: u32 = 1;
const BODY: u32 = 2;
// Of a ClusterLoadAssignment and a RouteConfiguration alike.
const OWN_NAME: u32 = 1;

/// What stands between the server's version and what makes a changed resource another one. A client that
/// comes back without the relay between says this version, which no server has: it gets the resource
/// anew.
const MARK: &str = "~w";

/// A response, as far as the relay reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// What its resources are.
    pub type_url: String,
    /// What the client answers with.
    pub nonce: String,
    /// The whole response's version.
    pub version: String,
    /// Its resources in the order in which they stand.
    pub resources: Vec<Named>,
    /// Names of resources that are gone; only in incremental ones.
    pub removed: Vec<String>,
}

/// A resource of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its version; empty where the stream has only one for all, or the server gives none.
    pub version: String,
    /// Its bytes, without any envelope. They keep the whole response alive.
    pub body: Bytes,
}

/// What the resources of a response are.
///
/// # Errors
///
/// If it is no response.
pub fn type_url(response: &[u8]) -> Result<String, Malformed> {
    text(response, TYPE).map(str::to_owned)
}

/// The name that a resource gives itself.
pub(super) fn own_name(resource: &[u8]) -> Result<String, Malformed> {
    text(resource, OWN_NAME).map(str::to_owned)
}

impl Response {
    /// Reads a response.
    ///
    /// # Errors
    ///
    /// If it is no message of its kind: then its bytes go through as they are.
    pub fn read(bytes: &Bytes, dialect: Dialect) -> Result<Self, Malformed> {
        let mut resources = Vec::new();
        let mut removed = Vec::new();
        for field in Fields::of(bytes) {
            let field = field?;
            match (field.number, dialect) {
                (RESOURCES, Dialect::StateOfTheWorld) => {
                    let body = bytes.slice_ref(inner(field.bytes()?, BODY)?);
                    let name = own_name(&body)?;
                    resources.push(Named { name, version: String::new(), body });
                }
                (RESOURCES, Dialect::Incremental) => {
                    let resource = field.bytes()?;
                    let body = inner(inner(resource, RESOURCE_BODY)?, BODY)?;
                    resources.push(Named {
                        name: text(resource, RESOURCE_NAME)?.to_owned(),
                        version: text(resource, RESOURCE_VERSION)?.to_owned(),
                        body: bytes.slice_ref(body),
                    });
                }
                (REMOVED, Dialect::Incremental) => removed.push(field.text()?.to_owned()),
                _ => {}
            }
        }
        Ok(Self {
            type_url: text(bytes, TYPE)?.to_owned(),
            nonce: text(bytes, NONCE)?.to_owned(),
            version: text(bytes, VERSION)?.to_owned(),
            resources,
            removed,
        })
    }
}

/// The response with other bodies: one per resource, in their order, none where it stays as it is. What
/// is changed gets a version of its own.
///
/// # Errors
///
/// If it is no message of its kind.
pub fn with_bodies(
    response: &[u8],
    dialect: Dialect,
    bodies: &[Option<Bytes>],
) -> Result<Bytes, Malformed> {
    let changed = bodies.iter().flatten();
    let mark = mark(changed.clone());
    let mut bodies = bodies.iter();
    let patched = rewritten(response, |field, out| match (field.number, dialect) {
        (RESOURCES, Dialect::StateOfTheWorld) => {
            let Some(Some(new)) = bodies.next() else { return Ok(false) };
            put_bytes(out, RESOURCES, &with_body(field.bytes()?, new)?);
            Ok(true)
        }
        (RESOURCES, Dialect::Incremental) => {
            let Some(Some(new)) = bodies.next() else { return Ok(false) };
            put_bytes(out, RESOURCES, &resource(field.bytes()?, new)?);
            Ok(true)
        }
        (VERSION, Dialect::StateOfTheWorld) if changed.clone().next().is_some() => {
            put_bytes(out, VERSION, format!("{}{mark}", field.text()?).as_bytes());
            Ok(true)
        }
        _ => Ok::<_, Malformed>(false),
    })?;
    Ok(patched.into())
}

fn with_body(any: &[u8], new: &Bytes) -> Result<Vec<u8>, Malformed> {
    let mut out = rewritten(any, |field, _| Ok::<_, Malformed>(field.number == BODY))?;
    put_bytes(&mut out, BODY, new);
    Ok(out)
}

/// A resource of an incremental response with another body, and a version that no server gives.
fn resource(resource: &[u8], new: &Bytes) -> Result<Vec<u8>, Malformed> {
    let version = text(resource, RESOURCE_VERSION)?.to_owned() + &mark([new].into_iter());
    let mut out = rewritten(resource, |field, out| match field.number {
        RESOURCE_VERSION => Ok(true),
        RESOURCE_BODY => {
            put_bytes(out, RESOURCE_BODY, &with_body(field.bytes()?, new)?);
            Ok(true)
        }
        _ => Ok::<_, Malformed>(false),
    })?;
    put_bytes(&mut out, RESOURCE_VERSION, version.as_bytes());
    Ok(out)
}

/// A resource in a response of the relay's own.
pub(super) struct Own<'a> {
    pub(super) name: &'a str,
    /// The server's version of it; empty where it gives none.
    pub(super) version: &'a str,
    /// The server's bytes, or what became of them.
    pub(super) body: &'a Bytes,
    /// Whether it is not what the server sent.
    pub(super) changed: bool,
}

/// A response of the relay's own. `version`: the server's last for the whole type.
pub(super) fn own(
    (dialect, type_url): (Dialect, &str),
    (nonce, version): (&str, &str),
    resources: &[Own<'_>],
) -> Bytes {
    let changed = resources.iter().filter(|one| one.changed).map(|one| one.body);
    let mark = if changed.clone().next().is_some() { mark(changed) } else { String::new() };
    let mut out = Vec::new();
    put_bytes(&mut out, VERSION, format!("{version}{mark}").as_bytes());
    for one in resources {
        let mut any = Vec::new();
        put_bytes(&mut any, TYPE_OF_ANY, type_url.as_bytes());
        put_bytes(&mut any, BODY, one.body);
        match dialect {
            Dialect::StateOfTheWorld => put_bytes(&mut out, RESOURCES, &any),
            Dialect::Incremental => put_bytes(&mut out, RESOURCES, &one.enveloped(&any)),
        }
    }
    put_bytes(&mut out, TYPE, type_url.as_bytes());
    put_bytes(&mut out, NONCE, nonce.as_bytes());
    out.into()
}

impl Own<'_> {
    fn enveloped(&self, any: &[u8]) -> Vec<u8> {
        let own = if self.changed { mark([self.body].into_iter()) } else { String::new() };
        let version = format!("{}{own}", self.version);
        let mut out = Vec::new();
        if !version.is_empty() {
            put_bytes(&mut out, RESOURCE_VERSION, version.as_bytes());
        }
        put_bytes(&mut out, RESOURCE_BODY, any);
        put_bytes(&mut out, RESOURCE_NAME, self.name.as_bytes());
        out
    }
}

/// The same for the same bytes, across restarts too.
fn mark<'a>(bodies: impl Iterator<Item = &'a Bytes>) -> String {
    let mut hash = Sha256::new();
    bodies.for_each(|body| hash.update(body));
    let hash = hash.finalize();
    let short = hash.iter().take(6).map(|byte| format!("{byte:02x}"));
    short.fold(MARK.to_owned(), |mark, byte| mark + &byte)
}

/// A version as the server gave it, without the relay's mark.
pub fn unmarked(version: &str) -> &str {
    version.rsplit_once(MARK).map_or(version, |(server, _)| server)
}

#[cfg(test)]
mod tests;
