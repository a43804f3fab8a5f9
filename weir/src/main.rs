//! The binary: reads the command line and hands over.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use weir::cli::{Cli, Color, Command, ConfigCommand};
use weir::commands::{
    self, approve, arena, config, demo, diff, envoy, evaluate, explain, journal, policy, record,
    release, replay, run, simulate, test, what_if,
};
use weir_collectors::status::one_line;
use weir_policies::problem::Colour;

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let colour = colour(cli.color);
    let given = |run: &weir::cli::Run| {
        let mut deepest = &matches;
        while let Some((_, inner)) = deepest.subcommand() {
            deepest = inner;
        }
        run.given(deepest)
    };
    let ended = match &cli.command {
        Command::Run(asked) => run::run(given(asked), colour),
        Command::Demo(asked) => demo::run(asked),
        Command::Simulate(asked) => simulate::run(asked, colour),
        Command::Arena(asked) => arena::run(asked, colour),
        Command::Evaluate(asked) => evaluate::run(asked, colour),
        Command::Replay(asked) => replay::run(asked, colour),
        Command::Test(asked) => test::run(asked, colour),
        Command::Explain(asked) => explain::run(asked),
        Command::Diff(asked) => diff::run(asked),
        Command::Approve(asked) => approve::run(asked, colour),
        Command::Journal(asked) => journal::run(asked),
        Command::Record(asked) => record::run(asked, colour),
        Command::WhatIf(asked) => what_if::run(asked, colour),
        Command::Policy(asked) => policy::run(asked, colour),
        Command::Envoy(asked) => envoy::run(asked),
        Command::Release(asked) => release::release(given(asked), colour),
        Command::Grpc(asked) => envoy::run_grpc(asked),
        Command::Config(ConfigCommand::View { run, origin }) => {
            config::view(given(run), *origin, colour)
        }
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(*shell, &mut command, "weir", &mut std::io::stdout());
            Ok(commands::OK)
        }
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            anstream::eprintln!("error: {}", one_line(error.as_ref()));
            ExitCode::from(commands::FAILED)
        }
    }
}

fn colour(asked: Color) -> Colour {
    let choice = match asked {
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
        Color::Auto => anstream::AutoStream::choice(&std::io::stderr()),
    };
    choice.write_global();
    if choice == anstream::ColorChoice::Never { Colour::Never } else { Colour::Always }
}
