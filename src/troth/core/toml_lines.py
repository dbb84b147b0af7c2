"""Which line of a TOML file each key stands on.

`tomllib` forgets positions, and a message that names no line makes a person search. This scanner only walks
text that `tomllib` has accepted already: it decides nothing about validity, and it is lenient.
"""

import tomllib

KeyPath = tuple[str | int, ...]
"""Where a value is: `("domains", 0, "name")`."""

_SPACE = " \t"
_SPACE_AND_LINES = " \t\r\n"
_BARE_END = " \t\r\n.=]\"'"
_SCALAR_END = ",]}#\r\n"


def find_lines(text: str) -> dict[KeyPath, int]:
    """The line, counted from 1, of every table, key and array element of a valid TOML document."""
    scanner = _Scanner(text)
    scanner.scan_document()
    return scanner.lines


def nearest_line(lines: dict[KeyPath, int], path: KeyPath) -> int | None:
    """The line of `path`, or of the innermost thing around it that has one."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def write_path(path: KeyPath) -> str:
    """`domains[0].name`, as people write it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._line = 1
        self._counted_to = 0
        self._elements: dict[KeyPath, int] = {}
        """The index of the last element of each array of tables."""

    def scan_document(self) -> None:
        table: KeyPath = ()
        while self._skip_blank(_SPACE_AND_LINES):
            if self._peek() == "[":
                table = self._scan_header()
            else:
                self._scan_pair(table)

    def _scan_header(self) -> KeyPath:
        is_element = self._text.startswith("[[", self._at)
        line = self._here()
        self._at += 2 if is_element else 1
        path = self._resolve(self._scan_key(), line, last_too=not is_element)
        self._at += 2 if is_element else 1
        if is_element:
            index = self._elements[path] = self._elements.get(path, -1) + 1
            path = (*path, index)
        self.lines[path] = line
        return path

    def _resolve(self, key: list[str], line: int, *, last_too: bool) -> KeyPath:
        """Inside an array of tables, a header means the last element so far."""
        path: KeyPath = ()
        for number, part in enumerate(key, 1):
            path = (*path, part)
            self.lines.setdefault(path, line)
            if path in self._elements and (last_too or number < len(key)):
                path = (*path, self._elements[path])
        return path

    def _scan_pair(self, table: KeyPath) -> None:
        line = self._here()
        path = table
        for part in self._scan_key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self._skip(_SPACE)
        self._at += 1  # the equals sign
        self._scan_value(path)

    def _scan_key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            parts.append(self._scan_key_part())
            self._skip(_SPACE)
            if self._peek() != ".":
                return parts
            self._at += 1

    def _scan_key_part(self) -> str:
        start = self._at
        if self._peek() in "\"'":
            self._scan_string()
            return str(tomllib.loads(f"key = {self._text[start : self._at]}")["key"])
        while self._peek() not in _BARE_END:
            self._at += 1
        return self._text[start : self._at]

    def _scan_value(self, path: KeyPath) -> None:
        self._skip(_SPACE)
        match self._peek():
            case '"' | "'":
                self._scan_string()
            case "[":
                self._scan_array(path)
            case "{":
                self._scan_inline_table(path)
            case _:
                while self._peek() not in _SCALAR_END:
                    self._at += 1

    def _scan_array(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        while self._skip_blank(_SPACE_AND_LINES + ",") and self._peek() != "]":
            self.lines[(*path, index)] = self._here()
            self._scan_value((*path, index))
            index += 1
        self._at += 1

    def _scan_inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while self._skip_blank(_SPACE_AND_LINES + ",") and self._peek() != "}":
            self._scan_pair(path)
        self._at += 1

    def _scan_string(self) -> None:
        quote = self._peek()
        mark = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        self._at += len(mark)
        while not self._text.startswith(mark, self._at):
            self._at += 2 if quote == '"' and self._peek() == "\\" else 1
        self._at += len(mark)
        # A multi-line string may end in up to two quotes of its own before the closing three.
        while len(mark) == 3 and self._peek() == quote:
            self._at += 1

    def _skip_blank(self, characters: str) -> bool:
        """Skip `characters` and comments; whether anything follows."""
        self._skip(characters)
        while self._peek() == "#":
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end
            self._skip(characters)
        return self._at < len(self._text)

    def _skip(self, characters: str) -> None:
        while self._at < len(self._text) and self._text[self._at] in characters:
            self._at += 1

    def _peek(self) -> str:
        """The next character; a line feed stands for the end, which ends every token."""
        return self._text[self._at] if self._at < len(self._text) else "\n"

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._line
