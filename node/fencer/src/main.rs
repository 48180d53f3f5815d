//! The fencer alone, for programs that run nodes and do not hand over to it themselves.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == quorate_fencer::CALL => quorate_fencer::main(arguments),
        _ => {
            eprintln!(
                "quorate-fencer is started by nodes and runners; there is nothing to do by hand"
            );
            ExitCode::from(2)
        }
    }
}
