"""What a figure's command has written, read back."""

import json
import xml.etree.ElementTree as ET

SVG = "{http://www.w3.org/2000/svg}"


def drawn(folder):
    """Return the JSON, the words of the SVG, and how many markers each of its series has."""
    tree = ET.parse(folder / "out.svg", ET.XMLParser(target=ET.TreeBuilder(insert_comments=True)))
    words = [each.text.strip() for each in tree.iter(ET.Comment)]
    markers = {g.get("id"): len(list(g.iter(f"{SVG}use"))) for g in tree.iter(f"{SVG}g") if ":" in g.get("id", "")}
    assert (folder / "out.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((folder / "out.json").read_text()), words, markers
