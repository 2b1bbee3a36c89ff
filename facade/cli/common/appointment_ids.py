"""Commands that take an appointment's id, which may begin with ``-`` as an option does."""

from collections.abc import Iterator

import click

_END = "--"
ID = "id"
"""The name of an argument that is an appointment's id."""


class TakesId(click.Command):
    """A command with an argument ``id``: in its place, a text that begins with one ``-`` is an id and not an option.

    Unknown options are rejected. An id that begins with two hyphens, or is the name of an option, goes after ``--``.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Pass the options to click first and then, after ``--``, the arguments. Raises click's own errors."""
        options: list[str] = []
        arguments: list[str] = []
        for is_argument, text in self._sorted(ctx, args):
            (arguments if is_argument else options).append(text)
        try:
            return super().parse_args(ctx, [*options, _END, *arguments])
        except click.NoSuchOption as error:
            usage = f"{ctx.command_path} [OPTIONS] -- {' '.join(self._argument_names()).upper()}"
            error.message = f"{error.message} An id that begins with - goes after --: {usage}"  # type: ignore[misc]  # declared final, and click prints it
            raise

    def _argument_names(self) -> list[str]:
        return [parameter.name or "" for parameter in self.params if isinstance(parameter, click.Argument)]

    def _sorted(self, ctx: click.Context, args: list[str]) -> Iterator[tuple[bool, str]]:
        """Yield each text with whether it is an argument."""
        takes_value = {
            name: not (isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count))
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option)
            for name in (*parameter.opts, *parameter.secondary_opts)
        }
        names, left = self._argument_names(), [*args]
        filled = 0
        while left:
            text = left.pop(0)
            if text == _END:
                yield from ((True, argument) for argument in left)
                return
            name = text.partition("=")[0] if text.startswith(_END) else text
            is_id = (
                filled < len(names) and names[filled] == ID and not text.startswith(_END) and text not in takes_value
            )
            if not text.startswith("-") or text == "-" or is_id:
                filled += 1
                yield True, text
                continue
            yield False, text
            if takes_value.get(name) and name == text and left:
                yield False, left.pop(0)
