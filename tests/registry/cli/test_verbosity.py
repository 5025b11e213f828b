"""What commands print next to results: ``-v``, ``-q`` and ``--help`` anywhere, and three lines for a network error."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import registry
from registry import Card, FileSpec, hookimpl

WEIGHTS = bytes(range(256)) * 64


@pytest.fixture
def hub(server: Any, monkeypatch: pytest.MonkeyPatch, loopback: None) -> Any:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


@pytest.fixture
def toy() -> None:
    """A card whose files are on the hub, and on a server that does not exist."""
    files = [
        FileSpec(role="config", filename="config.json", urls=("https://models.invalid/config.json",)),
        FileSpec(role="weights", filename="model.safetensors"),
    ]
    card = Card.on_hub("me/toy", files, name="toy", architecture="bert", task="base")
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), "toys")


def lines(result: Any) -> list[str]:
    assert result.stdout == ""
    return list(result.stderr.splitlines())


# --- Errors of the network --------------------------------------------------------------------------------------------


def test_no_network_is_three_lines_and_the_urls_only_with_v(
    hub: Any, toy: None, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.close()
    server = hub.url.removeprefix("http://")
    first, second, third = lines(run("pull", "toy"))
    assert first.startswith("NotCachedError: ")
    assert f"{server} cannot be reached (connection refused)" in first
    assert "models.invalid cannot be reached (name not known)" in first
    assert second == "Wanted: config.json, model.safetensors of model 'toy'."
    for word in ("HTTPS_PROXY", "HF_ENDPOINT", "`registry pull toy`"):
        assert word in third
    assert third.endswith(" -v prints details.")
    assert "https://" not in first + second + third
    for arguments in (("pull", "toy", "-v"), ("-v", "pull", "toy")):
        shown = run(*arguments).stderr
        assert "https://models.invalid/config.json" in shown
        assert "trying again in" in shown, "retries are shown"
        assert "-v prints" not in shown
    with pytest.raises(registry.RegistryError) as error:
        registry.load("toy")
    assert "https://models.invalid/config.json" not in str(error.value)
    assert "https://models.invalid/config.json" in error.value.details


def test_a_repository_behind_no_network_is_three_lines(hub: Any, run: Any) -> None:
    hub.close()
    first, second, third = lines(run("pull", "me/other"))
    assert "cannot be reached (connection refused)" in first
    assert second == "Wanted: the files of hub repository 'me/other'."
    assert "HF_ENDPOINT" in third
    assert "`registry pull me/other`" in third


def test_downloads_that_are_forbidden_name_the_variable(toy: None, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_OFFLINE", "1")
    for name, what in (("toy", "model 'toy' is not completely"), ("me/other", "hub repository 'me/other' is not")):
        first, second, _ = lines(run("pull", name))
        assert first == f"NotCachedError: {what} in the cache, and the variable REGISTRY_OFFLINE forbids downloads."
        assert second.startswith("Wanted: ")
        assert second.endswith(f" of {what.partition(' is ')[0]}.")


@pytest.mark.parametrize(("status", "advice"), [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (407, "HTTPS_PROXY")])
def test_a_refusal_says_what_to_do(hub: Any, reply: Any, toy: None, run: Any, status: int, advice: str) -> None:
    for path in ("config.json", "model.safetensors"):
        hub.add(f"/me/toy/resolve/main/{path}", reply(b"", status))
    first, second, third = lines(run("pull", "toy"))
    assert f"answers {status}" in first
    assert second.startswith("Wanted: config.json")
    assert advice in third


def test_a_proxy_and_a_certificate_are_named(
    tls_server: Any, run: Any, monkeypatch: pytest.MonkeyPatch, loopback: None
) -> None:
    url = tls_server.add("/model.safetensors", WEIGHTS)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    first, second, third = lines(run("pull", url))
    assert "localhost" in first
    assert "TLS certificate verification" in first
    assert second == f"Wanted: {url}."
    assert "REQUESTS_CA_BUNDLE" in third
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    first, second, third = lines(run("pull", "https://models.invalid/model.safetensors"))
    assert "models.invalid cannot be reached through the proxy (connection refused)" in first
    assert second == "Wanted: https://models.invalid/model.safetensors."
    assert "HTTPS_PROXY" in third


def test_a_full_disk_says_what_was_wanted(hub: Any, run: Any, monkeypatch: pytest.MonkeyPatch, small_disk: Any) -> None:
    monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", str(small_disk("size=64k")))
    url = hub.add("/model.safetensors", WEIGHTS * 64)
    first, second, third = lines(run("pull", url))
    assert first.startswith("CacheFullError: the cache ")
    assert "no room" in first
    assert second == "Wanted: model.safetensors (1.05 MB)."
    assert "`registry cache list`" in third
    assert "PYTORCH_PRETRAINED_BERT_CACHE" in third


# --- Options that every command takes ---------------------------------------------------------------------------------


def test_quiet_leaves_results_alone(encoder: Path, run: Any) -> None:
    for arguments in (("embed", encoder, "a b", "-o", "{}"), ("-q", "embed", encoder, "a b", "-o", "{}")):
        out = encoder / "v.jsonl"
        words = [str(word).replace("{}", str(out)) for word in arguments]
        quiet = run(*words) if "-q" in words else run(*words, "-q")
        assert (quiet.exit_code, quiet.output) == (0, "")
        assert json.loads(out.read_text())["text"] == "a b"
    result = run("info", "nothing-like-it", "-q")
    assert (result.exit_code, result.stderr.split(":")[0]) == (3, "UnknownModelError"), "errors are printed"


def test_debug_counts_behind_the_command_as_well(run: Any) -> None:
    assert isinstance(run("info", "nothing-like-it", "--debug").exception, registry.RegistryError)


def test_help_is_a_command_and_an_option_of_every_command(run: Any) -> None:
    assert (
        run("help", "cache", "list").stdout.partition("\n")[2]
        == run("cache", "list", "--help").stdout.partition("\n")[2]
    )
    assert run("help").stdout.partition("\n")[2] == run("--help").stdout.partition("\n")[2]
    assert run("--help", "pull").stdout.partition("\n")[2] == run("pull", "--help").stdout.partition("\n")[2]
    assert run("help", "nope").exit_code == 2
    assert run("version").stderr.endswith("No such command 'version'. Use '--version'.\n")


# --- Texts ------------------------------------------------------------------------------------------------------------


def test_stdin_is_the_text_where_none_is_given(encoder: Path, writer: Path, masked_lm: Path, run: Any) -> None:
    prompt = run("generate", writer, "hello", "-n", 5).stdout
    for arguments in (("-",), ()):
        assert run("generate", writer, *arguments, "-n", 5, input="hello\n").stdout == prompt, "without the line end"
    expected = run("embed", encoder, "a", "b").stdout
    for arguments in (("-",), (), ("-f", "-")):
        assert run("embed", encoder, *arguments, input="a\nb\n").stdout == expected
    text = "the cat sat on the [MASK]."
    assert run("fill-mask", masked_lm, input=f"{text}\n").stdout == run("fill-mask", masked_lm, text).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "gpt2"],
        ["generate", "gpt2", "a", "--top-p", "0.9"],
        ["generate", "gpt2", "a", "--seed", "1"],
        ["generate", "gpt2", "a", "--temperature", "-1"],
        ["generate", "gpt2", "a", "--num-beams", "2", "--temperature", "1"],
        ["chat", "gpt2", "a", "--top-k", "5"],
        ["embed", "all-minilm-l6-v2"],
        ["fill-mask", "Paris is the [MASK] of France."],
        ["attention", "all-minilm-l6-v2", "a", "nowhere/page.html"],
        ["cache", "clear"],
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_printed_or_loaded(arguments: list[str], run: Any) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output


def test_convert_replaces_nothing_unasked(encoder: Path, tmp_path: Path, run: Any) -> None:
    target = tmp_path / "there"
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    result = run("convert", encoder, target)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--force" in result.stderr
    assert run("convert", encoder, encoder, "--force").exit_code == 2
    assert [path.name for path in target.iterdir()] == ["mine.txt"]
    assert run("convert", encoder, target, "--force").exit_code == 0


def test_convert_takes_the_patterns_that_its_errors_name(encoder: Path, tmp_path: Path, run: Any) -> None:
    weights = load_file(encoder / "model.safetensors")
    name = next(name for name in weights if name.endswith("attention.self.query.weight"))
    save_file({**{key: value for key, value in weights.items() if key != name}}, encoder / "model.safetensors")
    (encoder / "registry.json").unlink()
    refused = run("convert", encoder, tmp_path / "out")
    assert (refused.exit_code, (tmp_path / "out").exists()) == (1, False)
    assert name in refused.stderr
    done = run("convert", encoder, tmp_path / "out", "--allow-missing", "*.query.weight")
    assert done.exit_code == 0, done.output
    assert name in done.stdout


def test_tensors_of_equal_layers_are_one_line(encoder: Path, run: Any) -> None:
    lines = run("inspect", encoder, "--summary").stdout.splitlines()
    row = next(line for line in lines if line.startswith("encoder.layer.*.output.dense.weight "))
    headers = json.loads(run("inspect", encoder, "--json").stdout)
    layers = [name for name in headers if name.endswith(".output.dense.weight") and ".attention." not in name]
    assert row.split()[1] == str(len(layers)) == "2"
    assert len(lines) < len(headers)


# --- Around commands --------------------------------------------------------------------------------------------------


def test_a_module_that_hides_the_package_is_named(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "registry.py").write_text("")
    warning = "warning: registry.py in this directory hides the package registry from `import registry`: rename it.\n"
    assert run("cache", "path").stderr == warning
    monkeypatch.chdir(Path(registry.__file__).parent.parent)
    assert run("cache", "path").stderr == "", "that is the package itself"


def test_pages_are_opened_if_asked_for(encoder: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or len(opened) == 1)
    page = encoder / "page.html"
    result = run("attention", encoder, "the cat", page, "--open")
    assert (result.exit_code, opened) == (0, [page.as_uri()])
    assert "No browser" not in result.stderr
    assert run("attention", encoder, "the cat", page).exit_code == 0
    assert len(opened) == 1
    assert "No browser could be started." in run("attention", encoder, "the cat", page, "--open").stderr


def test_an_interrupted_download_says_how_it_continues(toy: None, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("registry.sources.pull.pull_files", interrupted)
    result = run("pull", "toy")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "Interrupted. The same command continues the download.\n"
    assert run("pull", "toy", "no-such-model").exit_code == 3, "all names are looked up before anything is downloaded"


@pytest.mark.parametrize(("wish", "shown"), [("1", True), ("0", False), ("", False)])
def test_a_variable_shows_or_hides_progress_bars(
    wish: str, shown: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from registry.cli.output import progress

    monkeypatch.setenv("REGISTRY_PROGRESS", wish)
    with progress("Counting", 2, unit="sheep") as advance:
        advance(2)
    assert ("Counting" in capsys.readouterr().err) == shown
