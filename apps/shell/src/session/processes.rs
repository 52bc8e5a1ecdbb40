//! Programs: started, waited for, ended, listed.

use super::{FAILED, Gone, Session};
use alloc::format;
use alloc::vec::Vec;
use skerry_app_shell::command::Pid;
use skerry_app_shell::table;
use skerry_hal::CoreId;
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::knowledge::{What, pieces};
use skerry_urpc::formats::monitor::CoreState;
use skerry_urpc::formats::proc::*;
use skerry_urpc::formats::shell::{self, CoreLine, CoresQuery, MemoryLine};
use skerry_urpc::wire::{Body, Header, encode};

impl Session {
    /// Starts a program, and stays with it if `wait`.
    pub(super) async fn spawn(
        &self,
        core: CoreId,
        text: &str,
        wait: bool,
        machine: bool,
    ) -> Result<u8, Gone> {
        let request = self.ask_spawn(core, text, wait).await?;
        self.follow(if wait { "run" } else { "spawn" }, core, request, machine).await
    }

    /// Starts a program, and says nothing: which process it is.
    pub(super) async fn start(&self, core: CoreId, text: &str) -> Result<Option<Pid>, Gone> {
        let request = self.ask_spawn(core, text, false).await?;
        let mut pid = None;
        loop {
            let message = self.answer(request).await?;
            pid = message.body::<Spawned>().map(|spawned| Pid { core, number: spawned.pid }).or(pid);
            if message.body::<Done>().is_some() {
                return Ok(pid);
            }
        }
    }

    /// Asks for a program to be started; the request's number.
    async fn ask_spawn(&self, core: CoreId, text: &str, wait: bool) -> Result<u16, Gone> {
        let request = self.number();
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(Spawn::default().text.len()).collect();
        for (n, part) in pieces.iter().enumerate() {
            let more = u8::from(n + 1 < pieces.len());
            let (piece, len) = (n as u8, part.len() as u8);
            let mut piece = Spawn { wait: wait.into(), more, len, piece, ..Spawn::default() };
            piece.text[..part.len()].copy_from_slice(part);
            self.tell(core, request, &piece).await?;
        }
        Ok(request)
    }

    /// Stays with a process until it ends.
    pub(super) async fn wait(&self, pid: Pid, machine: bool) -> Result<u8, Gone> {
        let request = self.number();
        self.tell(pid.core, request, &Wait { pid: pid.number, ..Wait::default() }).await?;
        self.follow("wait", pid.core, request, machine).await
    }

    /// Sends a text to the knowledge base of this island, and shows what it answers.
    pub(super) async fn knowledge(
        &self,
        command: &str,
        what: What,
        text: &str,
        machine: bool,
    ) -> Result<u8, Gone> {
        let (core, request) = (CoreId::new(self.core.island(), 0), self.number());
        for piece in pieces(what, text.as_bytes()) {
            self.tell(core, request, &piece).await?;
        }
        self.follow(command, core, request, machine).await
    }

    /// Ends a process.
    pub(super) async fn kill(&self, pid: Pid, machine: bool) -> Result<u8, Gone> {
        let request = self.number();
        self.tell(pid.core, request, &Kill { pid: pid.number, ..Kill::default() }).await?;
        self.follow("kill", pid.core, request, machine).await
    }

    pub(super) async fn tell<B: Body>(&self, core: CoreId, request: u16, body: &B) -> Result<(), Gone> {
        let header = Header { dst: core, request, ..Header::default() };
        self.monitor.send(&encode(&header, body)).await.map_err(|_| Gone)
    }

    /// Shows what a process server answers until its last word. The status of a process becomes the command's.
    async fn follow(&self, what: &str, core: CoreId, request: u16, machine: bool) -> Result<u8, Gone> {
        let (mut line, mut taken) = (Vec::new(), 0);
        loop {
            let message = self.answer(request).await?;
            if let Some(out) = message.body::<Output>() {
                line.extend_from_slice(out.text.get(..usize::from(out.len)).unwrap_or(&[]));
                if out.more == 0 {
                    self.line(&table::clean(&core::mem::take(&mut line)), machine).await?;
                }
                taken += 1;
                if taken == WINDOW / 2 {
                    self.tell(core, request, &Credit { pieces: taken, ..Credit::default() }).await?;
                    taken = 0;
                }
            } else if let Some(spawned) = message.body::<Spawned>() {
                if what == "spawn" {
                    self.line(&format!("{core}:{}", spawned.pid), machine).await?;
                }
            } else if let Some(done) = message.body::<Done>() {
                return self.ended(what, core, &done, machine).await;
            }
        }
    }

    async fn ended(&self, what: &str, core: CoreId, done: &Done, machine: bool) -> Result<u8, Gone> {
        if done.refusal != 0 {
            let text = format!("{what}: {}; see `cores` and `ps`", Refusal::from_raw(done.refusal));
            return self.line(&text, machine).await.map(|()| FAILED);
        }
        match ProcessState::from_raw(done.state) {
            Some(ProcessState::Running) => Ok(0),
            Some(ProcessState::Exited) => Ok(done.code),
            _ => {
                let cause = table::end(done);
                self.line(&format!("{what}: process {core}:{}: {cause}", done.pid), machine).await?;
                Ok(FAILED)
            }
        }
    }

    /// Lists the processes of every core that is up.
    pub(super) async fn processes(&self, machine: bool) -> Result<u8, Gone> {
        self.line(table::PROCESSES, machine).await?;
        for CoreLine { core, .. } in self.cores_up().await? {
            let request = self.number();
            self.tell(core, request, &List::default()).await?;
            loop {
                let message = self.answer(request).await?;
                if let Some(process) = message.body::<Process>() {
                    self.line(&table::process(core, &process), machine).await?;
                } else if let Some(done) = message.body::<Done>() {
                    if done.refusal != 0 {
                        let why = Refusal::from_raw(done.refusal);
                        self.line(&format!("ps: core {core}: {why}"), machine).await?;
                    }
                    break;
                }
            }
        }
        Ok(0)
    }

    /// Lists what memory each core that is up has.
    pub(super) async fn memory(&self, machine: bool) -> Result<u8, Gone> {
        self.line(table::MEMORY, machine).await?;
        let own: Vec<MemoryLine> = self.collect(&shell::MemoryQuery::default()).await?;
        for core in self.cores_up().await? {
            let request = self.number();
            self.tell(core.core, request, &MemoryQuery::default()).await?;
            let mut state = None;
            loop {
                let message = self.answer(request).await?;
                state = state.or(message.body::<MemoryState>());
                if message.body::<Done>().is_some() {
                    break;
                }
            }
            let monitor = own.iter().find(|line| line.core == core.core);
            self.line(&table::memory(&core, monitor, state.as_ref()), machine).await?;
        }
        Ok(0)
    }

    pub(super) async fn cores_up(&self) -> Result<Vec<CoreLine>, Gone> {
        let mut cores: Vec<CoreLine> = self.collect(&CoresQuery::default()).await?;
        cores.retain(|line| line.state == CoreState::Up as u8);
        Ok(cores)
    }

    /// All answers of one kind that the monitor gives to a question.
    async fn collect<B: Body>(&self, query: &impl Body) -> Result<Vec<B>, Gone> {
        let request = self.number();
        let header = Header { request, ..Header::default() };
        self.monitor.send(&encode(&header, query)).await.map_err(|_| Gone)?;
        let mut answers = Vec::new();
        loop {
            let message = self.answer(request).await?;
            if message.body::<shell::Done>().is_some() {
                return Ok(answers);
            }
            answers.extend(message.body::<B>());
        }
    }

    /// The next message that answers a request.
    pub(super) async fn answer(&self, request: u16) -> Result<Message, Gone> {
        loop {
            let message = self.monitor.recv().await.map_err(|_| Gone)?;
            if message.header().request == request {
                return Ok(message);
            }
        }
    }

    /// The next request's number.
    pub(super) fn number(&self) -> u16 {
        let request = self.request.get().wrapping_add(1);
        self.request.set(request);
        request
    }
}
