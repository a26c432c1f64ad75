//! Changes to everyone whom they concern, under one catalog.
//!
//! Whoever told it may have had another catalog, in which its table has other entities, or other names, or none. Then nobody
//! here can tell what it says, and who follows the table reads again.

use super::generation::{Audience, Generation, Woken};
use super::mailbox::Lane;
use super::part::Part;
use super::place::Mark;
use super::text::{Common, Resync};
use crate::catalog::{Catalog, Entity};
use crate::event::bus::{Delivery, Event};
use crate::event::capture::{Origin, origin};
use crate::event::matcher::{Concerned, Error as Unclear, Image, Images};
use crate::protocol::{Change, ChangeOperation};
use serde_json::value::RawValue;
use std::sync::Arc;

/// Deliveries on their way.
pub(super) struct Route<'a> {
    pub(super) mark: &'a Mark,
    pub(super) lane: Lane,
    pub(super) woken: &'a mut Woken,
    /// To how many subscriptions something was told.
    pub(super) told: usize,
    /// How many of those entries were found that may match.
    pub(super) matched: usize,
}

/// What a delivery means under a catalog.
enum Meaning<'g, 'd> {
    /// Nobody here follows what it tells of.
    Nothing,
    Change(&'g Entity, &'d Change),
    Again(&'g Entity, Again),
    /// Everyone who follows its table reads again.
    Foreign(&'d Change),
    /// Everyone reads again.
    Unreadable,
}

/// That an entity's rows have to be read again.
struct Again {
    reason: Resync,
    origin: Option<Origin>,
    part: Option<Part>,
}

impl Again {
    /// Because of a change. What is known to concern one record is told in its part, so that it keeps its place among what is
    /// told of that record; the rest in all of them.
    fn of(change: &Change, reason: Resync) -> Self {
        Self { reason, origin: origin(change), part: Part::of(change) }
    }
}

impl<'a> Route<'a> {
    pub(super) fn new(mark: &'a Mark, lane: Lane, woken: &'a mut Woken) -> Self {
        Self { mark, lane, woken, told: 0, matched: 0 }
    }

    /// Tells everyone of a generation whom deliveries concern, one delivery after the other. Whom, is found out for all at once.
    pub(super) fn deliver(&mut self, generation: &Generation, deliveries: &[Delivery]) {
        let (meanings, images): (Vec<_>, Vec<_>) = deliveries.iter().map(|delivery| meaning(generation, &delivery.event)).unzip();
        let concerned = generation.index.concerned(&images);
        for (((meaning, delivery), images), concerned) in meanings.into_iter().zip(deliveries).zip(&images).zip(concerned) {
            let offset = delivery.offset;
            match meaning {
                Meaning::Nothing => {}
                Meaning::Change(entity, change) => match concerned {
                    Ok(concerned) => self.change(entity, change, images, concerned, offset),
                    Err(error) => self.resync(generation, entity, &Again::of(change, unclear(&error, change)), offset),
                },
                Meaning::Again(entity, again) => self.resync(generation, entity, &again, offset),
                Meaning::Foreign(change) => self.foreign(generation, change, offset),
                Meaning::Unreadable => {
                    let again = Again { reason: Resync::ChangeUnreadable, origin: None, part: None };
                    for entity in generation.catalog().entities() {
                        self.resync(generation, entity, &again, offset);
                    }
                }
            }
        }
    }

    /// Tells of a change that was told under another catalog. Its key may be another one here, so it is told in all parts.
    fn foreign(&mut self, generation: &Generation, change: &Change, offset: u64) {
        let catalog = generation.catalog();
        let Some(table) = catalog.serving(&change.source, &change.table) else { return };
        let again = Again { reason: Resync::ChangeUnreadable, origin: origin(change), part: None };
        for id in &table.entities {
            self.resync(generation, catalog.entity(*id), &again, offset);
        }
    }

    fn change(
        &mut self,
        entity: &Entity,
        change: &Change,
        images: &Images<'_>,
        concerned: Vec<Concerned<Arc<Audience>>>,
        offset: u64,
    ) {
        self.matched += concerned.len();
        let common = Common { epoch: self.mark.epoch(), offset };
        let (place, origin) = (self.mark.at(offset), origin(change));
        let part = if concerned.is_empty() { None } else { Part::of(change) };
        for (entry, what) in concerned {
            for audience in entry.subscribers() {
                if !audience.wants(part) {
                    continue;
                }
                let text = what.clone().and_then(|what| common.change(&audience.shape, what, change, images));
                let text = text.unwrap_or_else(|error| common.resync(entity, unclear(&error, change)));
                self.told += audience.tell(self.lane, &text.told(place, origin, part), self.woken);
            }
        }
    }

    /// Has everyone read again who follows an entity.
    fn resync(&mut self, generation: &Generation, entity: &Entity, again: &Again, offset: u64) {
        if !generation.is_followed(entity.id) {
            return;
        }
        let text = Common { epoch: self.mark.epoch(), offset }.resync(entity, again.reason);
        for audience in generation.audiences(entity.id) {
            let told = text.told(self.mark.at(offset), again.origin, again.part);
            self.told += audience.tell(self.lane, &told, self.woken);
        }
    }
}

/// What an event means under a generation's catalog, with the images of what is to be matched.
fn meaning<'g, 'd>(generation: &'g Generation, event: &'d Event) -> (Meaning<'g, 'd>, Images<'d>)
where
    'g: 'd,
{
    let none = [None, None];
    let (change, is_whole) = match event {
        Event::Unreadable => return (Meaning::Unreadable, none),
        Event::Change(change) => (&**change, true),
        Event::Omitted(change) => (&**change, false),
    };
    if !is_told_alike(generation.catalog(), change) {
        return (Meaning::Foreign(change), none);
    }
    let Some(entity) = entity_of(generation, change).filter(|entity| generation.is_followed(entity.id)) else {
        return (Meaning::Nothing, none);
    };
    if !is_whole {
        return (Meaning::Again(entity, Again::of(change, Resync::ChangeOmitted)), none);
    }
    match images(entity, change) {
        Ok(images) => (Meaning::Change(entity, change), images),
        Err(reason) => (Meaning::Again(entity, Again::of(change, reason)), none),
    }
}

/// The images that a change of its kind has.
fn images<'d>(entity: &'d Entity, change: &'d Change) -> Result<Images<'d>, Resync> {
    let read = |image: &'d Option<Box<RawValue>>| {
        let image = image.as_deref().map(|image| Image::read(entity, image.get())).transpose();
        image.map_err(|error| unclear(&error, change))
    };
    let images = [read(&change.before)?, read(&change.after)?];
    match (change.operation, &images) {
        (ChangeOperation::Create, [None, Some(_)])
        | (ChangeOperation::Update, [Some(_), Some(_)])
        | (ChangeOperation::Delete, [Some(_), None]) => Ok(images),
        _ => Err(Resync::ChangeUnreadable),
    }
}

/// Whether a change means here what it does to whoever told it. Those that do not name their table were told by a version that
/// knew no difference.
fn is_told_alike(catalog: &Catalog, change: &Change) -> bool {
    let serving = || catalog.serving(&change.source, &change.table);
    change.table.is_empty() || serving().is_some_and(|serving| serving.digest == change.serving)
}

/// The entity that a change is told of, if it is served from the same source.
fn entity_of<'g>(generation: &'g Generation, change: &Change) -> Option<&'g Entity> {
    generation.catalog().named(&change.schema, &change.entity).filter(|entity| entity.source == change.source)
}

fn unclear(error: &Unclear, change: &Change) -> Resync {
    tracing::debug!(%error, change = change.id, "subscribers have to read again");
    match error {
        Unclear::Malformed(_) => Resync::ChangeUnreadable,
        Unclear::Undecided(_) => Resync::Undecided,
    }
}
