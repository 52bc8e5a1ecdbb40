//! The simulator as a program: see [`skerry_sim::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    match skerry_sim::cli::main(std::env::args_os().skip(1).collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sim: {error}");
            ExitCode::from(2)
        }
    }
}
