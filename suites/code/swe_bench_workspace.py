"""An agent's workspace on an instance's repository: its files as data out here, commands in containers of its image.

`run` starts a fresh container, writes the changes made so far and runs the command there: what it changes is gone
afterwards. The hidden tests are not there. The conversation ends with a turn without calls; a diff in it is the answer
where nothing was changed by the tools.
"""

from __future__ import annotations

from sandboxes.check import Answer, InstanceCheck, Limits
from sandboxes.errors import ContainerLost
from sandboxes.instances import Instances
from sandboxes.sandbox import End
from suites.code.workspace import CHANGING, BadCall, Workspace, tool
from suites.conversation import ModelTurn, Step

RUN_LIMITS = Limits(cpu_s=120, memory_mb=4096)
MOST_TURNS = 60
LINES = 200
TOOLS = (
    tool(
        "list_files", "List what is in a folder of the repository.", folder="Its path; empty for the repository's own."
    ),
    tool(
        "read_file",
        f"Show {LINES} lines of a file, with numbers.",
        path="Path of the file.",
        start="First line, from 1.",
    ),
    *CHANGING,
    tool("run", "Run a shell command in the repository's folder; what it changes is not kept.", command="The command."),
)


class InstanceWorkspace(Workspace):
    """The conversation about one instance."""

    most_turns = MOST_TURNS
    most_files = 100_000

    def __init__(self, check: InstanceCheck, instances: Instances) -> None:
        super().__init__({})
        self._instance, self._instances = check, instances
        self._read_already = False
        self._slow["run"] = self._run

    async def step(self, turn: ModelTurn) -> Step:
        """Carry out the turn's calls.

        Raises:
            SandboxError: The repository could not be read, or a command not be run, and that was not the model's doing.
        """
        if not self._read_already:
            self.begin(await self._instances.repository(self._instance.image, self._instance.folder))
            self._read_already = True
        return await super().step(turn)

    def answer(self, turn: ModelTurn) -> Answer:
        """The changes, or where there are none what the last turn says."""
        return self.changes() or turn.text

    def _list(self, folder: str = "") -> str:
        place = folder.strip("/").removeprefix("./")
        inside = f"{place}/" if place and place != "." else ""
        there = {path[len(inside) :] for path in self.files if path.startswith(inside)}
        if not there:
            raise BadCall(f"there is no folder {folder[:200]!r}")
        return "\n".join(sorted({name.partition("/")[0] + "/" * ("/" in name) for name in there}))

    def _read(self, path: str, start: str = "1") -> str:
        if not start.strip().isdecimal():
            raise BadCall("read_file: start: a number is wanted")
        first = max(1, int(start))
        lines = self.text(path).splitlines()
        shown = lines[first - 1 : first - 1 + LINES]
        left = len(lines) - (first - 1) - len(shown)
        more = [f"({left} more lines)"] if left > 0 else []
        return "\n".join([*(f"{n}\t{line}" for n, line in enumerate(shown, first)), *more])

    async def _run(self, command: str) -> str:
        changes = {entry["path"]: entry["content"] for entry in self.changes()}
        written = {path: str(text).encode("utf-8", "replace") for path, text in changes.items() if text is not None}
        deleted = [path for path, text in changes.items() if text is None]
        folder = self._instance.folder
        try:
            async with self._instances.container(self._instance.image, RUN_LIMITS) as container:
                if deleted:
                    await container.run(["rm", "-f", "--", *deleted], folder)
                if written:
                    await container.put(written, folder)
                script = f"{{\n:\n{self._instance.setup}\n}} >/dev/null 2>&1\n{command}"
                ran = await container.run(["bash", "-c", script], folder)
        except ContainerLost:
            return "the command took its container down"
        except ValueError as error:
            return f"error: the changes cannot be written: {error}"
        said = ran.text if ran.end is End.EXITED else f"{ran.text}\nended by its limits: {ran.end}"
        return said.strip() or f"nothing printed, exit status {ran.status}"
