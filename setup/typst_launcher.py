#!/usr/bin/env python3
"""`typst` on top of the Python wheel of the same compiler, where the executable is not installed.

In: the arguments of typst's own command line that this project uses; any other is an error.
Out: what `typst` would write: the document, or JSON, and its diagnostics on standard error. The
exit code is 1 when the document is wrong and 2 when the arguments are, as with `typst`.

setup/typst.sh puts this file at .tools/bin/typst, beside the wheel in .tools/typst, and makes the
first line name the Python that was there at set-up. It needs nothing but the standard library.
"""

import argparse
import os
import re
import sys

TOOLS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def main():
    options = arguments().parse_args()
    try:
        return options.run(options)
    except BrokenPipeError:
        return 1
    except Exception as problem:  # the wheel raises its own, the system's and plain RuntimeErrors
        report(problem, options)
        return 1


def arguments():
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--font-path", action="append", metavar="DIR")
    common.add_argument("--ignore-system-fonts", action="store_true")

    document = argparse.ArgumentParser(add_help=False, allow_abbrev=False, parents=[common])
    document.add_argument("input", metavar="INPUT", help="a .typ file, or - for standard input")
    document.add_argument("--root", metavar="DIR", default=os.environ.get("TYPST_ROOT"))
    document.add_argument("--input", action="append", dest="inputs", metavar="key=value", type=key_value)
    document.add_argument("--package-path", metavar="DIR", default=os.environ.get("TYPST_PACKAGE_PATH"))
    document.add_argument("--package-cache-path", metavar="DIR", default=os.environ.get("TYPST_PACKAGE_CACHE_PATH"))
    document.add_argument("--diagnostic-format", choices=["human", "short"], default="human")

    structured = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    structured.add_argument("--format", choices=["json", "yaml"], default="json")
    structured.add_argument("--pretty", action="store_true")

    parser = argparse.ArgumentParser(prog="typst", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("-V", "--version", action=Version, nargs=0)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("compile", aliases=["c"], parents=[document], allow_abbrev=False,
                                  help="compile a document to PDF, PNG or SVG")
    command.add_argument("output", metavar="OUTPUT", nargs="?", help="default: INPUT with the format's ending")
    command.add_argument("-f", "--format", choices=["pdf", "png", "svg"])
    command.add_argument("--ppi", type=float, default=144.0)
    command.add_argument("--creation-timestamp", type=int, metavar="SECONDS", default=source_date_epoch())
    command.add_argument("--pdf-standard", action="append", metavar="NAME,...")
    command.add_argument("--no-pdf-tags", action="store_true")
    command.set_defaults(run=run_compile)

    command = commands.add_parser("query", parents=[document, structured], allow_abbrev=False,
                                  help="find elements in a document")
    command.add_argument("selector", metavar="SELECTOR")
    command.add_argument("--field", metavar="NAME")
    command.add_argument("--one", action="store_true")
    command.set_defaults(run=run_query)

    command = commands.add_parser("eval", parents=[common, structured], allow_abbrev=False,
                                  help="evaluate an expression, with --in inside a document")
    command.add_argument("expression", metavar="EXPRESSION")
    command.add_argument("--in", dest="input", metavar="INPUT")
    command.add_argument("--root", metavar="DIR", default=os.environ.get("TYPST_ROOT"))
    command.add_argument("--input", action="append", dest="inputs", metavar="key=value", type=key_value)
    command.add_argument("--diagnostic-format", choices=["human", "short"], default="human")
    command.set_defaults(run=run_eval, package_path=None, package_cache_path=None)

    command = commands.add_parser("fonts", parents=[common], allow_abbrev=False, help="list the fonts")
    command.add_argument("--variants", action="store_true")
    command.set_defaults(run=run_fonts)
    return parser


def run_compile(options):
    form = options.format or os.path.splitext(options.output or "")[1][1:] or "pdf"
    output = options.output or os.path.splitext(options.input)[0] + "." + form
    standards = [name for names in options.pdf_standard or [] for name in names.split(",")]
    document, warnings = library().compile_with_warnings(
        source(options),
        output=None if output == "-" else output,
        format=form,
        ppi=options.ppi,
        timestamp=options.creation_timestamp,
        pdf_standards=standards,
        pdf_tags=not options.no_pdf_tags,
        **world(options),
    )
    for warning in warnings:
        sys.stderr.write(in_format(warning.diagnostic, options.diagnostic_format))
    if output == "-":
        sys.stdout.buffer.write(document)
    return 0


def run_query(options):
    found = library().query(
        source(options), options.selector, field=options.field, one=options.one, format=options.format, **world(options)
    )
    return print_data(found, options)


def run_eval(options):
    text = source(options) if options.input else b""
    return print_data(library().eval(text, options.expression, format=options.format, **world(options)), options)


def run_fonts(options):
    fonts = library().Fonts(
        include_system_fonts=not ignores_system_fonts(options), font_paths=font_paths(options)
    )
    for family in fonts.families():
        print(family)
        if options.variants:
            for font in fonts.fonts():
                if font.family == family:
                    print(f"- Style: {font.style}, Weight: {font.weight}, Stretch: {font.stretch}, "
                          f"Path: {font.path or 'embedded'}")
    return 0


class Version(argparse.Action):
    """Says the version of the compiler, which is not always that of the wheel."""

    def __call__(self, parser, *_):
        typst = library()
        print(f"typst {typst.eval(b'', 'str(sys.version)').strip().strip(chr(34))} (wheel {typst.__version__})")
        parser.exit()


def library():
    sys.path.insert(0, os.path.join(TOOLS, "typst"))
    try:
        import typst
    except ImportError as problem:
        sys.exit(f"error: the typst wheel cannot be loaded: {problem}\nhint: run `make setup`")
    return typst


def source(options):
    if options.input == "-":
        return sys.stdin.buffer.read()
    if not os.path.exists(options.input):
        raise FileNotFoundError(f"input file not found (searched at {options.input})")
    return options.input


def world(options):
    return {
        "root": options.root,
        "font_paths": font_paths(options),
        "ignore_system_fonts": ignores_system_fonts(options),
        "sys_inputs": dict(options.inputs or []),
        "package_path": options.package_path,
        "package_cache_path": options.package_cache_path,
    }


def font_paths(options):
    inherited = os.environ.get("TYPST_FONT_PATHS", "")
    return options.font_path or [path for path in inherited.split(os.pathsep) if path]


def ignores_system_fonts(options):
    return options.ignore_system_fonts or os.environ.get("TYPST_IGNORE_SYSTEM_FONTS", "") in ("1", "true")


def key_value(text):
    key, equals, value = text.partition("=")
    if not key.strip() or not equals:
        raise argparse.ArgumentTypeError(f"`{text}` is not a key and a value separated by =")
    return key.strip(), value


def source_date_epoch():
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(text) if text.isdigit() else None


def print_data(text, options):
    """The wheel always lays JSON out over many lines; typst does so with --pretty only."""
    text = text.rstrip("\n")
    if options.format == "json" and not options.pretty:
        import json

        text = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    print(text)
    return 0


def report(problem, options):
    """The wheel's errors hold typst's own diagnostics; those of the system hold a message only."""
    diagnostic = getattr(problem, "diagnostic", None) or f"error: {getattr(problem, 'message', problem)}\n"
    sys.stderr.write(in_format(diagnostic, getattr(options, "diagnostic_format", "human")))


def in_format(diagnostic, form):
    """Typst's `short` form has one line for each diagnostic: `file:line:column: error: message`."""
    if form == "human":
        return diagnostic.rstrip("\n") + "\n"
    lines = []
    for block in re.split(r"(?m)^(?=(?:error|warning|help): )", diagnostic):
        if not block.strip():
            continue
        place = re.search(r"(?m)^ *┌─ (.*:\d+:\d+)$", block)
        message = (block[: place.start()] if place else block).strip()
        lines.append(f"{place.group(1)}: {message}\n" if place else f"{message}\n")
    return "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
