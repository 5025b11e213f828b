"""Discovery after a fork, and after Ctrl-C, at a moment when a plugin is being imported."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import registry

Install = Callable[..., Path]

HEAD = "from registry import Card, hookimpl\n"
CARD = "@hookimpl\ndef registry_cards():\n yield Card(name='toy-model', architecture='toy', task='base', files=())\n"

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


def run(code: str, *, site: Path | None = None) -> str:
    """The output of a program, in a process that ends within a minute."""
    path = os.pathsep.join(filter(None, [str(site or ""), *sys.path]))
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@needs_fork
def test_a_child_finds_models_whatever_another_thread_did_when_it_was_forked() -> None:
    """Ten of ten children waited for ever for the lock of a thread that they do not have."""
    code = """
    import os, signal, threading
    import registry
    registry.list_models()  # imports what is needed: no child can wait for an import of another thread

    def refresh():
        while True:
            registry.refresh()
            registry.list_models()

    threading.Thread(target=refresh, daemon=True).start()
    for _ in range(20):
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            os._exit(len(registry.list_models()) < 10)
        print(os.waitpid(child, 0)[1])
    print(flush=True)
    os._exit(0)
    """
    assert run(code).split() == ["0"] * 20


@needs_fork
def test_a_fork_waits_for_an_import_and_no_longer_than_it_may(install: Install) -> None:
    site = install("toy-dist", HEAD + "import time\nprint('importing', flush=True)\ntime.sleep(1)\n" + CARD)
    code = """
    import os, signal, threading, time
    import registry
    from registry.discovery import fork
    registry.info("gpt2")
    fork.PATIENCE = {patience}
    threading.Thread(target=registry.list_models, daemon=True).start()
    time.sleep(0.5)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        from registry import discovery
        print(discovery.plugins_called("toy_dist")[0].state, flush=True)
        os._exit(registry.info("gpt2").architecture != "gpt2")
    print(os.waitpid(child, 0)[1], flush=True)
    os._exit(0)
    """
    assert run(code.format(patience=10), site=site).split() == ["importing", "loaded", "0"]
    assert run(code.format(patience=0.1), site=site).split() == ["importing", "found", "0"]


@needs_fork
def test_a_thread_may_fork_while_it_imports_a_plugin(install: Install) -> None:
    forking = "import os\nchild = os.fork()\nif child == 0: os._exit(0)\nos.waitpid(child, 0)\n"
    site = install("toy-dist", HEAD + forking + CARD)
    assert run("import registry; print(registry.info('toy-model').name)", site=site).split() == ["toy-model"]


def test_ctrl_c_in_the_middle_of_an_import_has_it_imported_again(install: Install) -> None:
    slow = "import os, signal, time\nif not os.environ.pop('SLOW', None) is None:\n print('importing', flush=True)\n"
    site = install("toy-dist", HEAD + slow + " time.sleep(30)\n" + CARD)
    code = """
    import os
    os.environ["SLOW"] = "1"
    import registry
    try:
        registry.info("toy-model")
    except KeyboardInterrupt:
        print("interrupted")
    states = [each.state for each in registry.plugins() if each.distribution == "toy-dist"]
    print(registry.info("toy-model").name, states)
    """
    path = os.pathsep.join([str(site), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert printed == "interrupted\ntoy-model ['loaded']\n"


@pytest.mark.parametrize("raised", ["raise ImportError('no') from problem", "raise ImportError('no')"])
def test_ctrl_c_that_a_plugin_takes_for_an_error_of_its_own_is_none(install: Install, raised: str) -> None:
    source = f"try:\n raise KeyboardInterrupt\nexcept BaseException as problem:\n {raised}\n"
    install("toy-dist", source)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            registry.list_models()


@pytest.mark.filterwarnings("ignore:The plugin")
def test_an_error_after_ctrl_c_was_handled_is_the_plugins_own(install: Install) -> None:
    install("toy-dist", "raise ImportError('no')")
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert len(registry.list_models()) > 10
    assert [plugin.state for plugin in registry.plugins() if plugin.distribution == "toy-dist"] == ["failed"]
