"""Timing diagrams of the units, made by their benches."""

from xml.etree import ElementTree

import pytest
from tritforge.sim.benches.library import LIBRARY
from tritforge.sim.waveform import WAVEFORMS, waveform


def texts(svg: str) -> list[str]:
    return [text for each in ElementTree.fromstring(svg).iter() if (text := (each.text or "").strip())]


@pytest.mark.parametrize("name", WAVEFORMS)
def test_a_diagram_shows_its_ports_is_no_wider_than_two_pages_and_the_same_each_time(name: str) -> None:
    svg = waveform(name)
    shown = texts(svg)
    for port in LIBRARY[name].picture.ports:
        assert port.replace("__", ".") in shown
    assert int(ElementTree.fromstring(svg).attrib["width"]) < 3000
    assert waveform(name) == svg


def test_values_are_those_that_the_unit_was_given_and_gave() -> None:
    shown = texts(waveform("reciprocal"))
    assert {"1000", str((127 << 17) // 1000), "17"} <= set(shown)


def test_a_gap_stands_for_cycles_in_which_nothing_changes() -> None:
    # Hundreds of cycles of calculation.
    assert int(ElementTree.fromstring(waveform("inverse_root_scale")).attrib["width"]) < 1000
