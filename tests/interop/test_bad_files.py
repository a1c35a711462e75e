"""What strangers' files can hold: one clear line, nothing executed, nothing left behind."""

import io
import json
import os
import pickle
import resource
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from aligngap import weights
from aligngap.cli import main
from aligngap.errors import AligngapError
from aligngap.interop import FORMATS, tensors
from aligngap.runs import workdir

from small import random_params, small_config

pytestmark = pytest.mark.corpus


@pytest.fixture(scope="module")
def whole_model(pictograms_dir, words, tmp_path_factory):
    """An export that is as it should be."""
    from aligngap.interop import importing

    base = tmp_path_factory.mktemp("whole")
    config = small_config(pictograms_dir)
    workdir.claim(base / "run", config)
    words.save(base / "run" / "tokenizer")
    importing.save(base / "run", config, random_params(config))
    command = ["export", f"--workdir={base / 'run'}", f"--output={base / 'model'}"]
    assert main([*command, "--format=transformers"]) == 0
    return base / "model"


@pytest.fixture
def source(whole_model, tmp_path):
    return shutil.copytree(whole_model, tmp_path / "source")


def refused(capsys, source, *words, code=1, flags=()):
    """The import fails with one line that holds every word, and leaves nothing."""
    folder = source if source.is_dir() else source.parent
    before = sorted(folder.parent.rglob("*"))
    assert main(["import", f"--source={source}", f"--workdir={folder.parent}/run", *flags]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    line = lines[-1]
    assert line.startswith("aligngap: ")
    assert not any("Traceback" in line for line in lines)
    for word in words:
        assert word in line, line
    assert sorted(folder.parent.rglob("*")) == before


def edit(source, change):
    tensors = load_file(source / "model.safetensors")
    change(tensors)
    save_file(tensors, source / "model.safetensors")


def edit_json(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_truncated(capsys, source):
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    refused(capsys, source, "model.safetensors", "damaged")


def test_missing_and_surplus_tensors_are_listed(capsys, source):
    def change(tensors):
        del tensors["visual_projection.weight"]
        del tensors["text_model.final_layer_norm.bias"]
        tensors["vision_model.extra.weight"] = np.zeros(3, np.float32)

    edit(source, change)
    refused(
        capsys,
        source,
        "lacks text_model.final_layer_norm.bias, visual_projection.weight",
        "has vision_model.extra.weight, for which this model has no place",
    )


def test_many_missing_tensors_are_counted(capsys, source):
    edit(source, lambda t: [t.pop(n) for n in list(t) if n.startswith("vision_model.encoder")])
    refused(capsys, source, "and 24 more")


def test_wrong_shape(capsys, source):
    def change(tensors):
        tensors["text_projection.weight"] = np.zeros((48, 24), np.float32)

    edit(source, change)
    refused(capsys, source, "text_projection.weight has shape (48, 24); expected (24, 48)")


def test_whole_numbers_are_no_weights(capsys, source):
    edit(source, lambda t: t.update(logit_scale=np.array(2)))
    refused(capsys, source, "logit_scale is of type int64; expected floats")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model_type": "bert"}, ["unknown architecture", "'bert'", "clip or siglip"]),
        ({"vision_config": {"hidden_act": "relu"}}, ["hidden_act='relu'", "quick_gelu"]),
        ({"vision_config": {"hidden_size": 0}}, ["vision_config.hidden_size=0"]),
        ({"vision_config": {"hidden_size": 63}}, ["unknown architecture", "no multiple of heads"]),
        ({"model_type": []}, ["unknown architecture", "model_type=[]"]),
        ({"vision_config": "x"}, ["config.json: values of no model that is known", "'str'"]),
        ({"vision_config": {"hidden_act": []}}, ["hidden_act=[]"]),
        ({"projection_dim": None}, ["projection_dim=None is no number above 0"]),
        ({"vision_config": {"num_hidden_layers": 2**32}}, ["image.layers=4294967296", "numbers"]),
        ({"text_config": {"vocab_size": 10**30}}, ["text.vocab_size=1000"]),
    ],
)
def test_unknown_architectures(capsys, source, fields, said):
    edit_json(source / "config.json", **fields)
    refused(capsys, source, *said)


@pytest.mark.parametrize("fields", [{"model": "x"}, {"model": {"text": None}}, {"data": -1}])
def test_a_config_of_ours_with_other_values(capsys, tmp_path, fields):
    source = shutil.copytree(weights.find(Path("clip-pictograms")), tmp_path / "source")
    edit_json(source / "config.json", **fields)
    refused(capsys, source, str(source))


def test_text_pooled_at_another_token(capsys, source):
    config = json.loads((source / "config.json").read_text())
    edit_json(source / "config.json", text_config=config["text_config"] | {"eos_token_id": 7})
    refused(capsys, source, "pooled at token 7", "highest id, 639")


def test_a_tokenizer_of_another_model(capsys, source):
    config = json.loads((source / "config.json").read_text())
    text = config["text_config"] | {"vocab_size": 600}
    edit_json(source / "config.json", text_config=text)

    def change(tensors):
        name = "text_model.embeddings.token_embedding.weight"
        tensors[name] = tensors[name][:600]

    edit(source, change)
    refused(capsys, source, "tokenizer has 640 tokens, its model 600")


def test_half_a_folder(capsys, source):
    (source / "model.safetensors").unlink()
    refused(capsys, source, "no whole model", "model.safetensors")
    (source / "config.json").write_text('{"model_type": "cl')
    refused(capsys, source, "config.json", "JSON")
    (source / "config.json").write_text('{"a":' * 10**5)
    refused(capsys, source, "config.json", "JSON", "deep")
    (source / "config.json").unlink()
    refused(capsys, source, "holds no model", "config.json or open_clip_config.json")


def test_a_shard_outside_the_folder(capsys, source):
    (source / "model.safetensors").unlink()
    index = {"weight_map": {"logit_scale": "../../etc/passwd.safetensors"}}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(capsys, source, "../../etc/passwd.safetensors", "beside their index")


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("container", ["pickle", "torch"])
def test_a_pickle_that_would_run_code_is_refused(capsys, tmp_path, container):
    torch = pytest.importorskip("torch")
    path, mark = tmp_path / "files" / "model.pt", tmp_path / "it_ran"
    path.parent.mkdir()
    given = {"visual.conv1.weight": Malicious(mark)}
    if container == "torch":
        torch.save(given, path)
    else:
        path.write_bytes(pickle.dumps(given))
    refused(
        capsys, path, "refused", "posix.system" if container == "torch" else "more than weights"
    )
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.pt", b"PK\x03\x04half", ["model.pt", "damaged"]),
        ("model.npz", b"PK\x03\x04half", ["model.npz", "damaged"]),
        ("model.gguf", b"GGUF", ["expected a file of tensors", ".safetensors"]),
    ],
)
def test_broken_files(capsys, tmp_path, name, content, words):
    if name.endswith(".pt"):
        pytest.importorskip("torch")
    path = tmp_path / "files" / name
    path.parent.mkdir()
    path.write_bytes(content)
    refused(capsys, path, *words)


def of_numpy(shape=b"(3,)", method=zipfile.ZIP_DEFLATED, magic=b"\x93NUMPY"):
    """An .npz archive of one member."""
    written, about = io.BytesIO(), b"{'descr': '<f8', 'fortran_order': False, 'shape': %s}" % shape
    content = magic + b"\1\0" + struct.pack("<H", len(about)) + about + bytes(range(24))
    with zipfile.ZipFile(written, "w", method) as archive:
        archive.writestr("a.npy", content)
    return written.getvalue()


def of_safetensors(kind):
    about = json.dumps({"a": {"dtype": kind, "shape": [4], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(about)) + about + bytes(4)


TENSORS = {  # What strangers' files of tensors may be → what is said.
    "compressed.npz": (of_numpy()[:45] + b"\xff" * 20 + of_numpy()[65:], "is damaged"),
    "encrypted.npz": (
        of_numpy().replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"),
        "encrypted",
    ),
    "absurd.npz": (of_numpy(b"(%d,)" % 10**14), "Unable to allocate"),
    "text.npz": (of_numpy(magic=b"words"), "holds a, which is no array"),
    "array.npz": (b"\x93NUMPY\1\0" + of_numpy(method=0)[43:], "is damaged or no .npz"),
    "header.npz": (
        of_numpy(magic=b"\x93NUMPY\2\0\xff\xff\xff\x3f" + bytes(2**16)),
        "its header claims 1073741823 bytes",
    ),
    "eight.safetensors": (of_safetensors("F8_E4M3"), "of a type that is not read here"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_cannot_be_read(name, tmp_path):
    content, said = TENSORS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AligngapError, match=rf"{name} .*{said}"):
        tensors.read(tmp_path / name)


def test_what_torch_keeps_beside_plain_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    path, ones = tmp_path / "model.pt", torch.ones(3, 3)
    for given, said in {
        ("a", ones.to_sparse()): "a is no dense tensor",
        ("a", ones.to("meta")): "a is no dense tensor",
        (1, ones): "holds no state dict",
    }.items():
        torch.save(dict([given]), path)
        with pytest.raises(AligngapError, match=rf"model\.pt:? {said}"):
            tensors.read(path)
    torch.save({"a": torch.nn.Parameter(ones)}, path)
    np.testing.assert_array_equal(tensors.read(path)["a"], np.ones((3, 3)))


def test_tensors_of_no_known_model(capsys, tmp_path):
    path = tmp_path / "files" / "resnet.safetensors"
    path.parent.mkdir()
    save_file({"conv1.weight": np.zeros((4, 3), np.float32)}, path)
    refused(capsys, path, "unknown architecture", "conv1.weight")
    save_file({"visual.conv1.weight": np.zeros((4, 3, 2, 2), np.float32)}, path)
    refused(capsys, path, "lacks ln_final.weight")
    refused(capsys, path.parent / "nowhere.pt", "nowhere.pt does not exist")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"timm_model_name": "vit_b"}, ["vision_cfg.timm_model_name='vit_b'"]),
        ({"attentional_pool": True}, ["vision_cfg.attentional_pool=True"]),
        ({"pool_type": "avg"}, ["vision_cfg.pool_type='avg'"]),
    ],
)
def test_open_clips_other_architectures(capsys, source, fields, said):
    (source / "config.json").unlink()
    content = {"model_cfg": {"embed_dim": 24, "vision_cfg": fields, "text_cfg": {}}}
    (source / "open_clip_config.json").write_text(json.dumps(content))
    refused(capsys, source, "unknown architecture", *said)


def test_overrides_are_checked_as_in_training(capsys, source):
    flags = ["--config.model.image.hats=4"]
    refused(capsys, source, "'model.image.hats'", "'model.image.heads'", code=2, flags=flags)
    refused(capsys, source, "'--confg=1'", code=2, flags=["--confg=1"])


def test_what_is_there_is_not_overwritten(capsys, source, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("mine")
    refused(capsys, source, "run is there already", code=2)


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_overwrites_nothing(capsys, tmp_path, form):
    """Said before the model is looked for."""
    output = tmp_path / "out"
    output.mkdir()
    (output / "mine").write_text("mine")
    assert main(["export", "--workdir=none", f"--format={form}", f"--output={output}"]) == 2
    assert "out is there already and not empty" in capsys.readouterr().err
    assert (output / "mine").read_text() == "mine" and len(list(output.iterdir())) == 1


@pytest.mark.parametrize(
    ("form", "fields", "said"),
    [
        ("transformers", {"logit_bias": True}, ["logit_bias=True"]),
        ("transformers", {"scale_form": "softplus"}, ["scale_form=softplus"]),
        ("transformers", {"text.pooling": "last"}, ["text.pooling=last"]),
        ("open_clip", {"image.activation": "quick_gelu"}, ["one switch for both"]),
        ("open_clip", {"image.pooling": "attention"}, ["image.pooling=attention"]),
    ],
)
def test_a_model_that_a_format_cannot_express(
    capsys, pictograms_dir, hold, tmp_path, form, fields, said
):
    config = small_config(pictograms_dir, **fields)
    folder, output = hold(config, random_params(config)), tmp_path / "out"
    assert main(["export", f"--workdir={folder}", f"--format={form}", f"--output={output}"]) == 1
    line = capsys.readouterr().err
    for word in (f"{form} cannot express this model exactly", "--format=npz", *said):
        assert word in line
    assert [path.name for path in tmp_path.iterdir()] == ["held"]


@pytest.fixture
def full_disk():
    """No file may grow beyond 50 kB: what comes after is refused by the system."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("form", ["transformers", "stablehlo"])
def test_a_half_written_export_has_no_final_name(
    capsys, pictograms_dir, hold, words, tmp_path, request, form
):
    config = small_config(pictograms_dir)
    folder = hold(config, random_params(config), words)
    request.getfixturevalue("full_disk")
    command = ["export", f"--workdir={folder}", f"--output={tmp_path / 'out'}"]
    assert main([*command, f"--format={form}"]) == 1
    assert "cannot be written: File too large" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["held"]


def test_a_half_written_import_has_no_final_name(capsys, source, tmp_path, full_disk):
    assert main(["import", f"--source={source}", f"--workdir={tmp_path / 'run'}"]) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("aligngap: ") and "cannot be written" in line
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("splits", [{"a": 1}, {"a": {"measures": 1}}, []])
def test_an_evaluation_that_is_none_is_not_exported(
    splits, pictograms_dir, hold, words, capsys, tmp_path
):
    config = small_config(pictograms_dir)
    folder = hold(config, random_params(config), words)
    for name in ("evaluation.json", "gap.json"):
        (folder / name).write_text(json.dumps({"step": 0, "splits": splits}))
    given = f"--workdir={folder}", "--format=npz", f"--output={tmp_path / 'out'}"
    assert main(["export", *given]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "evaluation.json or gap.json is damaged" in line and "aligngap evaluate" in line
