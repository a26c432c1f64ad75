//! `dev` of a program that was built without a broker: there is none, and whoever asks for one is told so.

use crate::catalog::Entity;
use crate::cli::Error;
use crate::config::Place;
use crate::transport::mqtt::Settings;
use std::io::{self, Write};

/// A broker in this process, which there can't be.
pub(super) enum OwnBroker {}

/// Refuses one that was asked for.
pub(super) async fn open(place: Place) -> Result<Option<OwnBroker>, Error> {
    match place {
        Place::Nowhere | Place::Rather(_) => Ok(None),
        Place::Exactly(_) => Err(Error::new(
            "this program was built without an MQTT broker (the feature embedded-broker); leave --mqtt-listen out",
        )),
    }
}

impl OwnBroker {
    pub(super) fn settings(&self) -> Settings {
        match *self {}
    }

    pub(super) fn welcome(&self, _: &mut impl Write, _: &Entity) -> io::Result<()> {
        match *self {}
    }

    pub(super) async fn run(self) -> Result<(), Error> {
        match self {}
    }
}
