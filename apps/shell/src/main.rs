//! `shell`: understands commands from the console, asks the monitor, answers.
#![no_std]
#![no_main]

extern crate alloc;

mod session;

use alloc::vec::Vec;
use session::{Gone, Session};
use skerry_urpc::formats::console::Input;
use skerry_user::Domain;
use skerry_user::chan::{AsyncChan, Chan, Peer};
use skerry_user::exec::Executor;
use skerry_user::logging::error;

skerry_user::main!(main);

/// Bytes of a command; what is longer is cut, and then most likely refused.
const MAX_LINE: usize = 512;

fn main(mut domain: Domain) {
    let (exec, core) = (Executor::new(), domain.info.core);
    let chans = (Chan::listed(&mut domain, Peer::Console), Chan::listed(&mut domain, Peer::Monitor));
    let (Some(console), Some(monitor)) = chans else {
        error!("no console or no monitor: nothing to do");
        return;
    };
    let session = Session::new(AsyncChan::new(console, &exec), AsyncChan::new(monitor, &exec), core);
    let task = async move {
        if let Err(Gone) = serve(&session).await {
            error!("console or monitor is gone");
        }
    };
    if exec.spawn(task).is_ok() {
        exec.run();
    }
}

async fn serve(session: &Session) -> Result<(), Gone> {
    session.prompt().await?;
    let mut line = Vec::new();
    loop {
        let message = session.console().recv().await.map_err(|_| Gone)?;
        let Some(piece) = message.body::<Input>() else { continue };
        let len = usize::from(piece.len).min(piece.text.len());
        let room = MAX_LINE.saturating_sub(line.len());
        line.extend_from_slice(&piece.text[..len.min(room)]);
        if piece.last == 0 {
            continue;
        }
        let text = core::mem::take(&mut line);
        let text = core::str::from_utf8(&text).unwrap_or("?");
        session.run(text, piece.machine != 0).await?;
        if piece.machine == 0 {
            session.prompt().await?;
        }
    }
}
