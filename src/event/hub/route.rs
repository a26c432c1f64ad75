//! One change to everyone whom it concerns, under one catalog.
//!
//! Whoever told it may have had another catalog, in which its table has other entities, or other names, or none. Then nobody
//! here can tell what it says, and who follows the table reads again.

use super::generation::{Generation, Woken};
use super::mailbox::Lane;
use super::part::Part;
use super::place::Mark;
use super::text::{Common, Resync};
use crate::catalog::{Catalog, Entity};
use crate::event::bus::{Delivery, Event};
use crate::event::capture::{Origin, origin};
use crate::event::matcher::{Error as Unclear, Image};
use crate::protocol::{Change, ChangeOperation};
use serde_json::value::RawValue;

/// A delivery on its way.
pub(super) struct Route<'a> {
    pub(super) mark: &'a Mark,
    pub(super) lane: Lane,
    pub(super) woken: &'a mut Woken,
    /// To how many subscriptions something was told.
    pub(super) told: usize,
    /// How many of those entries were found that may match.
    pub(super) matched: usize,
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

    /// Tells everyone of a generation whom a delivery concerns.
    pub(super) fn deliver(&mut self, generation: &Generation, delivery: &Delivery) {
        let (catalog, offset) = (generation.catalog(), delivery.offset);
        match &delivery.event {
            Event::Change(change) | Event::Omitted(change) if !is_told_alike(catalog, change) => {
                self.foreign(generation, change, offset);
            }
            Event::Change(change) => {
                if let Some(entity) = entity_of(generation, change)
                    && let Err(reason) = self.change(generation, entity, change, offset)
                {
                    self.resync(generation, entity, &Again::of(change, reason), offset);
                }
            }
            Event::Omitted(change) => {
                if let Some(entity) = entity_of(generation, change) {
                    self.resync(generation, entity, &Again::of(change, Resync::ChangeOmitted), offset);
                }
            }
            Event::Unreadable => {
                let again = Again { reason: Resync::ChangeUnreadable, origin: None, part: None };
                for entity in catalog.entities() {
                    self.resync(generation, entity, &again, offset);
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

    fn change(&mut self, generation: &Generation, entity: &Entity, change: &Change, offset: u64) -> Result<(), Resync> {
        if !generation.is_followed(entity.id) {
            return Ok(());
        }
        let before = change.before.as_deref().map(|image| read(entity, image, change)).transpose()?;
        let after = change.after.as_deref().map(|image| read(entity, image, change)).transpose()?;
        let (before, after) = match (change.operation, before, after) {
            (ChangeOperation::Create, None, Some(after)) => (None, Some(after)),
            (ChangeOperation::Update, Some(before), Some(after)) => (Some(before), Some(after)),
            (ChangeOperation::Delete, Some(before), None) => (Some(before), None),
            _ => return Err(Resync::ChangeUnreadable),
        };
        let images = (before.as_ref(), after.as_ref());
        let concerned = generation.index.concerned(images.0, images.1).map_err(|error| unclear(&error, change))?;
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
        Ok(())
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

fn read<'i>(entity: &'i Entity, image: &'i RawValue, change: &Change) -> Result<Image<'i>, Resync> {
    Image::read(entity, image.get()).map_err(|error| unclear(&error, change))
}

fn unclear(error: &Unclear, change: &Change) -> Resync {
    tracing::debug!(%error, change = change.id, "subscribers have to read again");
    match error {
        Unclear::Malformed(_) => Resync::ChangeUnreadable,
        Unclear::Undecided(_) => Resync::Undecided,
    }
}
