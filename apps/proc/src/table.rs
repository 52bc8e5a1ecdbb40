//! The processes of a core.

use alloc::collections::BTreeMap;
use alloc::string::String;
use skerry_hal::CoreId;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::proc::{ProcessState, WINDOW};

/// Processes that run at a time.
pub const MAX_RUNNING: usize = 32;
/// Processes that have ended and that nobody waited for; of more, the oldest is forgotten.
pub const MAX_ZOMBIES: usize = 32;

/// A request of somebody's: whose, and its number there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Asker {
    /// Where the answers go.
    pub core: CoreId,
    /// Under which number.
    pub request: u16,
}

/// Who listens to a process, and how much more he takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiter {
    /// Who.
    pub asker: Asker,
    /// Pieces of output that may be sent.
    pub credit: u32,
}

impl Waiter {
    const fn new(asker: Asker) -> Self {
        Self { asker, credit: WINDOW }
    }
}

/// How a process ended: its state and exit status or fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// Not `Running`.
    pub state: ProcessState,
    /// Exit status, or what fault.
    pub code: u8,
    /// Of a fault: its address, and where the program stood.
    pub at: (u64, u64),
}

impl End {
    /// Without a fault.
    pub const fn new(state: ProcessState, code: u8) -> Self {
        Self { state, code, at: (0, 0) }
    }
}

/// One process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Its program.
    pub name: String,
    /// Bytes of RAM that it has.
    pub ram: u64,
    /// How it ended, once it has.
    pub end: Option<End>,
    /// Who listens.
    pub waiter: Option<Waiter>,
}

/// All processes, by number. Numbers are not used twice.
#[derive(Debug, Default)]
pub struct Table {
    processes: BTreeMap<u32, Process>,
    last: u32,
}

impl Table {
    /// No processes.
    pub const fn new() -> Self {
        Self { processes: BTreeMap::new(), last: 0 }
    }

    /// Whether one more may run.
    ///
    /// # Errors
    /// [`Refusal::Busy`].
    pub fn room(&self) -> Result<(), Refusal> {
        let running = self.processes.values().filter(|p| p.end.is_none()).count();
        if running < MAX_RUNNING { Ok(()) } else { Err(Refusal::Busy) }
    }

    /// A new process; its number.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if [`MAX_RUNNING`] run.
    pub fn add(&mut self, name: &str, ram: u64, waiter: Option<Asker>) -> Result<u32, Refusal> {
        self.room()?;
        // There are fewer processes than numbers.
        loop {
            self.last = self.last.wrapping_add(1).max(1);
            if !self.processes.contains_key(&self.last) {
                break;
            }
        }
        let process = Process { name: name.into(), ram, end: None, waiter: waiter.map(Waiter::new) };
        self.processes.insert(self.last, process);
        Ok(self.last)
    }

    /// A process has so much RAM now.
    pub fn set_ram(&mut self, pid: u32, ram: u64) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.ram = ram;
        }
    }

    /// A process came to nothing.
    pub fn forget(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    /// A process.
    pub fn get(&self, pid: u32) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// All processes, in order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Process)> {
        self.processes.iter().map(|(pid, process)| (*pid, process))
    }

    /// A process has ended. Answers who waited for it: then it is forgotten at once, else it is a zombie.
    pub fn end(&mut self, pid: u32, end: End) -> Option<Asker> {
        let process = self.processes.get_mut(&pid)?;
        process.end = Some(end);
        let waiter = process.waiter?;
        self.processes.remove(&pid);
        Some(waiter.asker)
    }

    /// Forgets the oldest zombie if there are more than [`MAX_ZOMBIES`].
    pub fn trim(&mut self) -> Option<u32> {
        let zombies = self.processes.iter().filter(|(_, p)| p.end.is_some());
        let oldest = zombies.clone().map(|(pid, _)| *pid).next()?;
        (zombies.count() > MAX_ZOMBIES).then(|| {
            self.processes.remove(&oldest);
            oldest
        })
    }

    /// Somebody wants to wait. Answers how it ended if it has: then it is forgotten.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Busy`] if another waits.
    pub fn wait(&mut self, pid: u32, asker: Asker) -> Result<Option<End>, Refusal> {
        let process = self.processes.get_mut(&pid).ok_or(Refusal::NotFound)?;
        if let Some(end) = process.end {
            self.processes.remove(&pid);
            return Ok(Some(end));
        }
        if process.waiter.is_some() {
            return Err(Refusal::Busy);
        }
        process.waiter = Some(Waiter::new(asker));
        Ok(None)
    }

    /// A listener takes so many more pieces.
    pub fn credit(&mut self, asker: Asker, pieces: u32) {
        if let Some(waiter) = self.listening(asker).and_then(|p| p.waiter.as_mut()) {
            waiter.credit = waiter.credit.saturating_add(pieces).min(WINDOW);
        }
    }

    /// A listener has gone.
    pub fn leave(&mut self, asker: Asker) {
        if let Some(process) = self.listening(asker) {
            process.waiter = None;
        }
    }

    fn listening(&mut self, asker: Asker) -> Option<&mut Process> {
        self.processes.values_mut().find(|p| p.waiter.is_some_and(|w| w.asker == asker))
    }

    /// Where the next piece of a process's output goes.
    pub fn output(&mut self, pid: u32) -> Output {
        match self.processes.get_mut(&pid).and_then(|p| p.waiter.as_mut()) {
            None => Output::Log,
            Some(Waiter { credit: 0, .. }) => Output::Hold,
            Some(waiter) => {
                waiter.credit -= 1;
                Output::To(waiter.asker)
            }
        }
    }

    /// Whether output of a process has somewhere to go now.
    pub fn takes_output(&self, pid: u32) -> bool {
        self.get(pid).and_then(|p| p.waiter).is_none_or(|waiter| waiter.credit > 0)
    }
}

/// Where output goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// Nobody listens.
    Log,
    /// Nowhere now: the program waits.
    Hold,
    /// To him, who has granted it.
    To(Asker),
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_hal::IslandId;

    const fn asker(request: u16) -> Asker {
        Asker { core: CoreId::new(IslandId(1), 2), request }
    }

    const EXITED: End = End::new(ProcessState::Exited, 3);

    #[test]
    fn who_waits_hears_of_the_end_and_the_process_is_forgotten() {
        let mut table = Table::new();
        let a = table.add("a", 4096, Some(asker(1))).unwrap();
        let b = table.add("b", 4096, None).unwrap();
        assert_eq!(table.end(a, EXITED), Some(asker(1)));
        assert_eq!(table.get(a), None);
        assert_eq!(table.end(b, EXITED), None);
        assert_eq!(table.wait(b, asker(2)), Ok(Some(EXITED)));
        assert_eq!(table.wait(b, asker(2)), Err(Refusal::NotFound));
        assert_eq!(table.end(b, EXITED), None, "twice does no harm");
        let c = table.add("c", 0, Some(asker(3))).unwrap();
        table.set_ram(c, 8192);
        assert_eq!(table.get(c).map(|p| p.ram), Some(8192));
        table.forget(c);
        assert_eq!(table.end(c, EXITED), None);
        assert_eq!(table.get(c), None);
    }

    #[test]
    fn one_waits_and_may_leave() {
        let mut table = Table::new();
        let a = table.add("a", 4096, None).unwrap();
        assert_eq!(table.wait(a, asker(1)), Ok(None));
        assert_eq!(table.wait(a, asker(2)), Err(Refusal::Busy));
        table.leave(asker(1));
        assert_eq!(table.output(a), Output::Log);
        assert_eq!(table.wait(a, asker(2)), Ok(None));
        assert_eq!(table.end(a, EXITED), Some(asker(2)));
    }

    #[test]
    fn output_flows_as_credit_is_granted() {
        let mut table = Table::new();
        let a = table.add("a", 4096, Some(asker(1))).unwrap();
        for _ in 0..WINDOW {
            assert_eq!(table.output(a), Output::To(asker(1)));
        }
        assert_eq!(table.output(a), Output::Hold);
        assert!(!table.takes_output(a));
        table.credit(asker(9), 5);
        assert_eq!(table.output(a), Output::Hold, "another's credit");
        table.credit(asker(1), u32::MAX);
        assert_eq!(table.get(a).unwrap().waiter.unwrap().credit, WINDOW, "never more than the window");
    }

    #[test]
    fn the_table_is_bounded_and_numbers_are_new() {
        let mut table = Table::new();
        let mut last = 0;
        for round in 0..3 {
            let pids: Vec<u32> = (0..MAX_RUNNING).map(|_| table.add("a", 1, None).unwrap()).collect();
            assert_eq!(table.add("a", 1, None), Err(Refusal::Busy), "round {round}");
            assert!(pids[0] > last);
            last = pids[MAX_RUNNING - 1];
            pids.iter().for_each(|&pid| assert_eq!(table.end(pid, EXITED), None));
            while table.trim().is_some() {}
            assert_eq!(
                table.iter().map(|(pid, _)| pid).collect::<Vec<_>>(),
                pids,
                "the oldest are forgotten"
            );
        }
        table.last = u32::MAX;
        assert_eq!(table.add("a", 1, None), Ok(1), "0 is no number");
    }
}
