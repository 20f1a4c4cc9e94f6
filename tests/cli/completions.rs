//! The scripts that complete the command line, and the shells that read them.

use std::process::Command;

use crate::program::Home;

#[tokio::test]
async fn every_shell_gets_a_script_with_every_command() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = home.run(&["completions", shell]).await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{shell}");
        for word in ["keys", "rotate", "completions", "usd-per-day", "online"] {
            assert!(ended.out.contains(word), "{shell}: {word}");
        }
    }
    let other = home.run(&["completions", "csh"]).await;
    assert_eq!(other.code, Some(2), "{other:?}");
}

/// A shell that is not installed cannot be asked.
#[tokio::test]
async fn the_shells_accept_them() {
    let home = Home::new();
    for (shell, test) in [
        ("bash", ". ./script && complete -p reprise"),
        (
            "zsh",
            "autoload -U compinit && compinit -u -d ./dump && . ./script && whence _reprise",
        ),
        (
            "fish",
            "source ./script && complete -c reprise | string match -q '*keys*'",
        ),
    ] {
        let script = home.run(&["completions", shell]).await;
        home.write("script", &script.out);
        let asked = Command::new(shell)
            .args(["-c", test])
            .current_dir(home.path(""))
            .env("HOME", home.path(""))
            .output();
        let Ok(asked) = asked else {
            assert_ne!(shell, "bash", "the tests run where bash is");
            continue;
        };
        assert!(asked.status.success(), "{shell}: {asked:?}");
    }
}
