//! Devices: their drivers, and what they do.

use super::{FAILED, Gone, Session};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use skerry_app_shell::table;
use skerry_hal::{CoreId, IslandId};
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::device::*;
use skerry_urpc::formats::proc::Done;
use skerry_urpc::wire::Body;

/// The benchmark that the PCI domain runs.
pub(super) const IRQ: &str = "irq.deliver";

impl Session {
    /// Asks the PCI domain of an island, and lets `each` have the answers. `Err` with a line for people if it refuses.
    async fn ask_devices(
        &self,
        what: &str,
        island: IslandId,
        body: &impl Body,
        mut each: impl FnMut(&Message),
    ) -> Result<Result<(), String>, Gone> {
        let (core, request) = (CoreId::new(island, 0), self.number());
        self.tell(core, request, body).await?;
        loop {
            let message = self.answer(request).await?;
            let Some(done) = message.body::<Done>() else {
                each(&message);
                continue;
            };
            return Ok(match done.refusal {
                0 => Ok(()),
                refusal => Err(format!("{what}: island {island}: {}", Refusal::from_raw(refusal))),
            });
        }
    }

    /// Lists the drivers of every island that is up.
    pub(super) async fn drivers(&self, machine: bool) -> Result<u8, Gone> {
        self.line(table::DRIVERS, machine).await?;
        let firsts =
            self.cores_up().await?.into_iter().map(|line| line.core).filter(|core| core.local() == 0);
        for core in firsts {
            let mut lines = Vec::new();
            let island = core.island();
            let take = |message: &Message| lines.extend(message.body::<DriverLine>());
            let asked = self.ask_devices("drivers", island, &DriversQuery::default(), take).await?;
            for line in lines {
                self.line(&table::driver(island, &line), machine).await?;
            }
            if let Err(text) = asked {
                self.line(&text, machine).await?;
            }
        }
        Ok(0)
    }

    /// Shows random bytes, and by how many interrupts they and those before them came.
    pub(super) async fn entropy(&self, island: IslandId, bytes: u32, machine: bool) -> Result<u8, Gone> {
        let mut got = Vec::new();
        let take = |message: &Message| got.extend(message.body::<Random>());
        let query = RandomQuery { bytes, ..RandomQuery::default() };
        let asked = self.ask_devices("entropy", island, &query, take).await?;
        for random in &got {
            self.line(&table::random(random), machine).await?;
        }
        let text = match asked {
            Ok(()) => {
                let interrupts = got.last().map_or(0, |random| random.interrupts);
                format!("entropy: {bytes} bytes from island {island}, {interrupts} interrupts")
            }
            Err(ref text) => text.clone(),
        };
        self.line(&text, machine).await?;
        Ok(if asked.is_ok() { 0 } else { FAILED })
    }

    /// How long an interrupt takes to its driver, on this island.
    pub(super) async fn interrupts(&self, machine: bool) -> Result<u8, Gone> {
        let mut found = None;
        let take = |message: &Message| found = message.body::<Measured>().or(found);
        let asked = self.ask_devices(IRQ, self.core.island(), &MeasureQuery::default(), take).await?;
        let text = match (asked, found) {
            (Ok(()), Some(Measured { ticks, .. })) => {
                format!("{IRQ}.{} {ticks} ticks", skerry_user::ISA.name())
            }
            (Ok(()), None) => format!("{IRQ}: nothing was measured"),
            (Err(text), _) => return self.line(&text, machine).await.map(|()| FAILED),
        };
        self.line(&text, machine).await.map(|()| 0)
    }

    /// Ends a driver, which is started anew.
    pub(super) async fn restart(&self, island: IslandId, name: &str, machine: bool) -> Result<u8, Gone> {
        let mut query = RestartQuery::default();
        let asked = match query.name.get_mut(..name.len()) {
            Some(room) => {
                room.copy_from_slice(name.as_bytes());
                self.ask_devices("restart", island, &query, |_| ()).await?
            }
            None => Err("restart: no driver has so long a name; see `drivers`".into()),
        };
        match asked {
            Ok(()) => Ok(0),
            Err(text) => self.line(&text, machine).await.map(|()| FAILED),
        }
    }
}
