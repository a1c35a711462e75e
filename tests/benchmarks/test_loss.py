"""The table of `aligngap bench loss`: its arithmetic is counted, its objectives run."""

from aligngap.benchmarks import loss
from aligngap.cli import main


def test_every_line_says_what_it_costs(capsys):
    assert (
        main(["bench", "loss", "--batch", "64", "--tile", "16", "--preset", "clip", "siglip"]) == 0
    )
    head, columns, product, *lines = capsys.readouterr().out.splitlines()
    assert "float32" in head and "tile 16" in head
    assert columns.split()[:4] == ["objective", "B", "form", "FLOP/B²D"]
    assert float(product.split()[-1]) > 0
    # A product and two gradients; in tiles the product is computed again.
    assert [line.split()[:4] for line in lines] == [
        ["clip", "64", "dense", "6.0"],
        ["clip", "64", "tiled", "8.0"],
        ["siglip", "64", "dense", "6.0"],
        ["siglip", "64", "tiled", "8.0"],
    ]
    assert all(float(line.split()[5]) > 0 for line in lines)


def test_a_dense_form_that_is_too_large_is_priced_and_not_run(monkeypatch):
    monkeypatch.setattr(loss, "LARGEST_DENSE", 1000)
    *_, dense, tiled = loss.table(["clip"], [64], 16, "bfloat16")
    assert "too large to run" in dense
    assert "too large" not in tiled
