//! What a client says of one type: an answer to a response, names that it wants, or both.

use bytes::Bytes;
use weir_engine::units::Moment;

use super::kind::{Kind, OWN_NONCE};
use super::told::{From, Owed, Sent};
use super::{Event, Out};
use crate::relay::Malformed;
use crate::relay::request::{Change, Request, asking, for_server, taken};
use crate::session::Dialect;

/// What a request does to the names that the client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Names {
    /// Whether there are others than before.
    change: bool,
    /// Whether some are asked for that were wanted already.
    again: bool,
}

impl Kind {
    /// The client's request on its way to the server.
    pub(super) fn request(
        &mut self,
        bytes: &Bytes,
        request: &Request,
        now: Moment,
        out: &mut Vec<Out>,
    ) -> Result<(), Malformed> {
        let first = !std::mem::replace(&mut self.met, true);
        let (sent, skipped) = self.unanswered.take(&request.nonce);
        let names = self.want(request, first);
        if self.dialect == Dialect::StateOfTheWorld {
            self.latest = bytes.clone();
        }
        for owed in skipped {
            self.pay(&owed, out)?;
        }
        match (sent, &request.error) {
            (Some(sent), None) => self.accepted(bytes, request, (sent, names), out),
            (Some(sent), Some(error)) => {
                self.rejected((bytes, request), (sent, names), (error, now), out)
            }
            (None, _) => self.asks(bytes, request, (first, names), out),
        }
    }

    /// Takes over which names are wanted.
    fn want(&mut self, request: &Request, first: bool) -> Names {
        match self.dialect {
            Dialect::StateOfTheWorld => {
                let named = request.names.iter().cloned().collect();
                let before = std::mem::replace(&mut self.wanted, named);
                let gone: Vec<String> = before.difference(&self.wanted).cloned().collect();
                for name in &gone {
                    self.forget(name);
                }
                Names { change: before != self.wanted, again: before == self.wanted && !first }
            }
            Dialect::Incremental => {
                let mut names = Names::default();
                for name in &request.unwanted {
                    self.forget(name);
                    names.change |= self.wanted.remove(name);
                }
                for name in &request.names {
                    let new = self.wanted.insert(name.clone());
                    names.change |= new;
                    names.again |= !new;
                    if !new {
                        self.ask(name);
                    }
                }
                self.wanted.extend(request.initial.iter().cloned());
                names
            }
        }
    }

    /// The client has taken a response.
    fn accepted(
        &mut self,
        bytes: &Bytes,
        request: &Request,
        (sent, names): (Sent, Names),
        out: &mut Vec<Out>,
    ) -> Result<(), Malformed> {
        if !sent.changed.is_empty() {
            let changed = sent.changed.into_keys().collect();
            out.push(Out::Told(Event::Taken(self.sort, changed)));
        }
        match sent.from {
            From::Server => self.answer(bytes, request, Change::default(), out),
            From::Relay(Some(owed)) => self.pay(&owed, out).map(|()| {
                if names.change && self.dialect == Dialect::Incremental {
                    out.extend(asking(bytes).ok().map(Out::Server));
                }
            }),
            From::Relay(None) if names.change => self.names_only(bytes, names, out),
            From::Relay(None) => Ok(()),
        }
    }

    /// The client has refused a response.
    fn rejected(
        &mut self,
        (bytes, request): (&Bytes, &Request),
        (sent, names): (Sent, Names),
        (error, now): (&str, Moment),
        out: &mut Vec<Out>,
    ) -> Result<(), Malformed> {
        let owed = match &sent.from {
            // What the server itself sent is refused: it hears so.
            From::Server if sent.changed.is_empty() => {
                return self.answer(bytes, request, Change::default(), out);
            }
            From::Server => {
                let Sent { nonce, .. } = &sent;
                let version = self.last.version.clone();
                Some(Owed { nonce: nonce.clone(), version, since: now })
            }
            From::Relay(Some(owed)) if sent.changed.is_empty() => {
                let change = Change { nonce: Some(owed.nonce.clone()), ..Change::default() };
                return self.answer(bytes, request, change, out);
            }
            From::Relay(owed) => owed.clone(),
        };
        if sent.changed.is_empty() {
            tracing::debug!(error, "a resource that was repeated as the server sent it is refused");
        } else {
            self.fall_back(sent, owed.clone(), (error, now), out);
        }
        match (names.change, self.dialect) {
            // With the answer that is owed the names go too.
            (true, Dialect::StateOfTheWorld) if owed.is_some() => Ok(()),
            (true, _) => self.names_only(bytes, Names { again: false, ..names }, out),
            (false, _) => Ok(()),
        }
    }

    /// A request that answers nothing which is still unanswered.
    fn asks(
        &mut self,
        bytes: &Bytes,
        request: &Request,
        (first, names): (bool, Names),
        out: &mut Vec<Out>,
    ) -> Result<(), Malformed> {
        if request.nonce.starts_with(OWN_NONCE) {
            return self.names_only(bytes, names, out);
        }
        let repeats = !request.nonce.is_empty() && request.error.is_none();
        if repeats && names.again && self.dialect == Dialect::StateOfTheWorld {
            self.ask_all();
        }
        // A server that believes that the client has its last version may send nothing, and what the
        // client has may be changed.
        let version = first.then(String::new);
        self.answer(bytes, request, Change { blank: first, version, ..Change::default() }, out)
    }

    /// What has names to tell and answers none of the server's responses.
    fn names_only(
        &mut self,
        bytes: &Bytes,
        names: Names,
        out: &mut Vec<Out>,
    ) -> Result<(), Malformed> {
        match self.dialect {
            Dialect::Incremental if names.change => out.push(Out::Server(asking(bytes)?)),
            Dialect::Incremental => {}
            Dialect::StateOfTheWorld if names.change => {
                let change = Change {
                    nonce: Some(self.last.nonce.clone()),
                    version: Some(self.last.version.clone()),
                    forgive: true,
                    ..Change::default()
                };
                out.push(Out::Server(for_server(bytes, self.dialect, &change)?));
            }
            Dialect::StateOfTheWorld => self.ask_all(),
        }
        Ok(())
    }

    fn ask_all(&mut self) {
        for name in self.wanted.clone() {
            self.ask(&name);
        }
    }

    /// Hands a request to the server; names go apart where it would lose them with the answer.
    fn answer(
        &self,
        bytes: &Bytes,
        request: &Request,
        change: Change,
        out: &mut Vec<Out>,
    ) -> Result<(), Malformed> {
        let nonce = change.nonce.as_deref().unwrap_or(&request.nonce);
        let has_names = !request.names.is_empty() || !request.unwanted.is_empty();
        let late = !nonce.is_empty() && nonce != self.last.nonce;
        if self.dialect == Dialect::Incremental && late && has_names {
            let nameless = Change { nameless: true, ..change };
            out.push(Out::Server(for_server(bytes, self.dialect, &nameless)?));
            out.push(Out::Server(asking(bytes)?));
        } else {
            out.push(Out::Server(for_server(bytes, self.dialect, &change)?));
        }
        Ok(())
    }

    /// Gives the server the answer that it awaits: it is taken, as it was sent.
    fn pay(&self, owed: &Owed, out: &mut Vec<Out>) -> Result<(), Malformed> {
        let answer = match self.dialect {
            Dialect::Incremental => taken(self.sort.type_url(), &owed.nonce),
            Dialect::StateOfTheWorld => {
                let change = Change {
                    nonce: Some(owed.nonce.clone()),
                    version: Some(owed.version.clone()),
                    forgive: true,
                    ..Change::default()
                };
                for_server(&self.latest, self.dialect, &change)?
            }
        };
        out.push(Out::Server(answer));
        Ok(())
    }

    /// Gives the answers that the server has waited for too long.
    pub(super) fn overdue(&mut self, now: Moment, out: &mut Vec<Out>) {
        let Some(since) = self.unanswered.owed_since() else { return };
        if since.plus(super::VERDICT) > now {
            return;
        }
        let before = now.millis() - u64::try_from(super::VERDICT.as_millis()).unwrap_or(u64::MAX);
        for owed in self.unanswered.overdue(Moment::from_millis(before)) {
            if let Err(error) = self.pay(&owed, out) {
                tracing::debug!(%error, "no answer can be made of the client's last request");
            }
        }
    }
}
