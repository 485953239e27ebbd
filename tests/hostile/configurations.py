"""Cases in config.yaml: how it is written, and what values it holds."""

from tests.hostile.folders import (
    Make,
    cut,
    damaged,
    edited,
    hostile,
    removed,
    rewritten,
    settings,
    spaces,
    spelt,
    without,
)

# What runs, or writes, if it is built; Hydra itself refuses to build some others.
OS_SYSTEM = '{_target_: os.system, command: "touch @PROOF@"}'
LOAD = '{_target_: torch.load, f: "@OUTSIDE@/bomb.pth", weights_only: false}'
WRITE = '{_target_: src.runs.files.write_atomically, path: "@PROOF@", content: x}'
MAKE = '{_target_: os.makedirs, name: "@PROOF@"}'


def laughs(depth: int, width: int) -> str:
    """Lists of aliases of lists of aliases: width^depth words."""
    lines = ["b0: &b0 [ha]"]
    lines += [f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * width)}]" for i in range(1, depth + 1)]
    return "\n".join(lines) + "\n"


def merges(depth: int, width: int) -> str:
    """Mappings that merge mappings that merge mappings: width^depth keys."""
    lines = ["m0: &m0 {ha: 1}"]
    lines += [
        f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * width)}]}}" for i in range(1, depth + 1)
    ]
    return "\n".join(lines) + "\n"


def whole(text: str | bytes) -> Make:
    """The step of a configuration that is this and nothing else."""
    return rewritten(lambda _: text)


def before(text: str) -> Make:
    """The step of a configuration that begins with this."""
    return rewritten(lambda old: text + old)


# What YAML can spell. `!!pairs` and `!!omap` are of the safe loader, and make lists of tuples.
SPELT = [
    ("yaml-pairs", "model.loss.hidden", f"!!pairs [a: {LOAD}]"),
    ("yaml-omap", "model.loss.hidden", f"!!omap [a: {LOAD}]"),
    ("yaml-pairs-that-write", "model.loss.hidden", f"!!pairs [a: {WRITE}]"),
    ("yaml-omap-that-makes", "model.loss.hidden", f"!!omap [a: {MAKE}]"),
    ("yaml-pairs-of-os-system", "model.loss.hidden", f"!!pairs [a: {OS_SYSTEM}]"),
    ("yaml-pairs-in-generator", "model.generator.width", f"!!pairs [a: {LOAD}]"),
    ("yaml-omap-in-data", "data.labels", f"!!omap [a: {LOAD}]"),
    ("yaml-pairs-in-requires", "model.generator.requires", f"!!pairs [data.kind: {OS_SYSTEM}]"),
    ("yaml-pairs-in-pairs", "model.penalty.x", f"!!pairs [a: !!pairs [b: [{MAKE}]]]"),
    ("yaml-pairs-in-metrics", "metrics.metrics", f"!!pairs [a: {OS_SYSTEM}]"),
    ("yaml-set", "data.labels", "!!set {a, b}"),
    ("yaml-binary", "data.name", "!!binary Li4vLi4veA=="),
    ("yaml-timestamp", "seed", "!!timestamp 2020-01-01"),
    ("yaml-python-apply", "model.loss.x", '!!python/object/apply:os.system ["touch @PROOF@"]'),
    ("yaml-python-new", "model.loss.x", '!!python/object/new:os.system ["touch @PROOF@"]'),
    ("yaml-python-name", "model.loss.x", "!!python/name:os.system"),
    ("yaml-python-module", "model.loss.x", "!!python/module:antigravity"),
    ("yaml-python-tuple", "data.labels", f"!!python/tuple [{OS_SYSTEM}]"),
    ("yaml-own-tag", "model.generator.width", "!sparring 2"),
    ("yaml-int-of-a-mapping", "model.generator.width", f"!!int {OS_SYSTEM}"),
    ("yaml-self-reference", "model.loss.x", "&m {again: *m}"),
    ("yaml-list-of-itself", "data.labels", "&m [*m]"),
    ("yaml-long-integer", "budget", lambda: "9" * 5000),
    ("yaml-long-hexadecimal", "budget", lambda: "0x" + "f" * 50_000),
    ("yaml-lone-surrogate", "model.generator.norm", '"\\uD800"'),
    ("labels-of-two-million", "data.labels", lambda: f"[{'x,' * 2_000_000}]"),
    ("latent-of-many-categories", "model.latent.categories", lambda: f"[{'10,' * 100_000}]"),
    ("layers-of-a-schedule", "model.schedule.lr", lambda: f"[{'1.0,' * 200_000}]"),
    ("yaml-sequence-as-key", "model.loss.x", "{[a]: 1}"),
    ("yaml-mapping-as-key", "model.loss.x", "{{a: 1}: 1}"),
    ("interpolation-of-the-home", "data.name", "${oc.env:HOME}"),
    ("interpolation-that-decodes", "model.loss.x", "'${oc.decode:\"{_target_: os.system}\"}'"),
    ("interpolation-that-creates", "model.loss.x", "'${oc.create:{_target_: os.system}}'"),
    ("interpolation-in-a-target", "model.loss._target_", "${oc.env:HOME}"),
    ("interpolation-in-a-key", "model.loss", "{'${oc.env:HOME}': 1}"),
    ("interpolation-of-itself", "model.generator.width", "${model.generator.width}"),
    ("interpolation-escaped", "data.name", "'\\${oc.env:HOME}'"),
]

# What whole files there can be.
WRITTEN = [
    ("yaml-billion-laughs", before(laughs(9, 10))),
    ("yaml-billion-laughs-in-a-slot", rewritten(lambda old: laughs(9, 10) + old.replace(
        "requires:", "x: *b9\n    requires:", 1))),
    ("yaml-quadratic-aliases", before(
        f"q: &q {'ha' * 500_000}\nr: [{', '.join(['*q'] * 10_000)}]\n")),
    ("yaml-merge-bomb", before(merges(9, 10))),
    ("yaml-brackets", before("x: " + "[" * 100_000 + "\n")),
    ("yaml-closed-brackets", before("x: " + "[" * 100_000 + "]" * 100_000 + "\n")),
    ("yaml-braces", before("x: " + "{a: " * 100_000 + "1" + "}" * 100_000 + "\n")),
    ("yaml-dashes", whole("- " * 100_000 + "1\n")),
    ("yaml-spaces", rewritten(lambda old: old + spaces(50_000_000))),
    ("yaml-comment", rewritten(lambda old: f"# {'x' * 50_000_000}\n{old}")),
    ("yaml-many-keys", rewritten(
        lambda old: old + "".join(f"k{i}: 1\n" for i in range(500_000)))),
    ("yaml-many-documents", rewritten(lambda old: "---\na: 1\n" * 200_000 + old)),
    ("yaml-own-directive", before(
        "%TAG ! tag:yaml.org,2002:python/object/apply:\n---\nx: !os.system ['touch @PROOF@']\n")),
]  # fmt: skip

# Values that no machine can serve, or that lead elsewhere.
VALUES = [
    ("width-of-a-billion", "gan", {"model.generator.width": 10**9}),
    ("width-of-a-trillion", "gan", {"model.generator.width": 10**18}),
    ("width-beyond-64-bits", "gan", {"model.generator.width": 10**30}),
    ("width-below-zero", "gan", {"model.generator.width": -2}),
    ("width-of-four-gigabytes", "gan", {"model.generator.width": 1200}),
    ("hidden-of-four-gigabytes", "vae", {"model.decoder.hidden": [32_000, 32_000]}),
    ("hidden-of-a-billion", "vae", {"model.decoder.hidden": [10**9]}),
    ("hidden-below-zero", "toy", {"model.generator.hidden": [-5]}),
    ("hidden-of-many-layers", "vae", {"model.decoder.hidden": [1] * 20_000}),
    ("latent-of-a-billion", "gan", {"model.latent.dim": 10**9}),
    ("latent-below-zero", "gan", {"model.latent.dim": -4}),
    ("latent-of-the-vae-of-a-trillion", "vae", {"model.latent_dim": 10**12}),
    ("resolution-of-a-billion", "gan", {"data.resolution": 10**9}),
    ("resolution-below-zero", "gan", {"data.resolution": -28}),
    ("channels-of-a-billion", "gan", {"data.channels": 10**9}),
    ("batch-of-a-quintillion", "gan", {"model.batch_size": 10**18}),
    ("batch-below-zero", "gan", {"model.batch_size": -1}),
    ("packing-of-a-billion", "gan", {"model.packing": 10**9}),
    ("points-of-a-billion-dimensions", "toy", {"data.dim": 10**9, "model.latent.dim": 2}),
    ("points-of-a-trillion", "toy", {"data.size": 10**12}),
    ("budget-of-ten-to-the-thirty", "gan", {"budget": 10**30}),
    ("seed-of-ten-to-the-thirty", "gan", {"seed": 10**30}),
    ("draws-of-a-billion", "vae", {"model.objective.samples": 10**9}),
    ("norm-of-a-megabyte", "gan", {"model.generator.norm": "x" * 1_000_000}),
    ("key-of-a-megabyte", "gan", {"x" * 1_000_000: 1}),
    ("key-with-escapes", "gan", {"model.generator.\x1b[31mred\u202e": 1}),
]

# Of these `sample` may take no notice.
HARMLESS = (
    *("batch-of-a-quintillion", "budget-of-ten-to-the-thirty", "draws-of-a-billion"),
    *("points-of-a-trillion", "points-of-a-billion-dimensions", "resolution-of-a-billion"),
)

# Accidents with the file.
BROKEN = [
    ("config-empty", whole("")),
    ("config-of-comments", whole("# nothing\n")),
    ("config-null", whole("null\n")),
    ("config-a-list", whole("- model\n- data\n")),
    ("config-a-word", whole("model")),
    ("config-cut-at-a-tenth", cut("config.yaml", 0.1)),
    ("config-cut-at-a-third", cut("config.yaml", 0.33)),
    ("config-in-utf-16", rewritten(lambda old: old.encode("utf-16"))),
    ("config-of-invalid-utf-8", rewritten(lambda old: b"x: \xff\xfe\xc3\x28\n" + old.encode())),
    ("config-with-nul", rewritten(lambda old: old.replace("width: 2", "width: 2\0", 1))),
    ("config-of-tabs", rewritten(lambda old: old.replace("    ", "\t"))),
    ("config-of-noise", whole(bytes(range(256)) * 64)),
    ("config-of-zeros", whole(b"\0" * 4000)),
    ("config-twice", rewritten(lambda old: f"{old}---\n{old}")),
    ("config-with-conflict-marks", before("<<<<<<< HEAD\n=======\n>>>>>>> theirs\n")),
    ("config-unclosed-quote", before('x: "\n')),
]

WRONG = [
    ("model-3", {"model": 3}),
    ("model-null", {"model": None}),
    ("model-a-list", {"model": [1, 2]}),
    ("data-null", {"data": None}),
    ("data-a-word", {"data": "mnist"}),
    ("seed-a-word", {"seed": "x"}),
    ("seed-a-half", {"seed": 0.5}),
    ("seed-true", {"seed": True}),
    ("seed-below-zero", {"seed": -1}),
    ("budget-a-word", {"budget": "many"}),
    ("budget-infinite", {"budget": float("inf")}),
    ("batch-size-a-word", {"model.batch_size": "x"}),
    ("generator-a-word", {"model.generator": "dcgan"}),
    ("generator-without-a-target", {"model.generator": {"width": 2}}),
    ("width-a-word", {"model.generator.width": "wide"}),
    ("width-a-half", {"model.generator.width": 2.5}),
    ("width-nan", {"model.generator.width": float("nan")}),
    ("norm-unknown", {"model.generator.norm": "nonsense"}),
    ("target-a-number", {"model.loss._target_": 7}),
    ("target-of-nothing", {"model.loss._target_": "src.losses.adversarial.Gone"}),
    ("unknown-key", {"model.generator.depth": 3}),
    ("unknown-slot", {"model.sharpener": {"_target_": "src.transforms.augment.NoAugment"}}),
    ("key-of-an-older-version", {"model.latent_dim": 4}),
]

CASES = [
    *(hostile(name, spelt(key, text), refused=True) for name, key, text in SPELT),
    *(hostile(name, step, refused=True) for name, step in WRITTEN),
    *(
        hostile(name, settings(values), base=base, refused=name not in HARMLESS)
        for name, base, values in VALUES
    ),
    *(damaged(name, step, refused=True) for name, step in BROKEN),
    *(damaged(name, settings(values), refused=True) for name, values in WRONG),
    damaged("config-with-a-bom", rewritten(lambda old: b"\xef\xbb\xbf" + old.encode())),
    damaged("config-with-windows-ends", rewritten(lambda old: old.replace("\n", "\r\n"))),
    damaged("config-missing", removed("config.yaml"), refused=True),
    damaged("keys-twice", rewritten(lambda old: f"{old}seed: 0\nseed: 0\n")),
    damaged(
        "keys-that-are-no-words",
        edited(lambda config: config["model"].update({1: 2, None: 3})),
        refused=True,
    ),
    damaged("seed-missing", without("seed"), refused=True),
    damaged("budget-missing", without("budget"), refused=True),
    damaged("generator-missing", without("model.generator"), refused=True),
    damaged("width-missing", without("model.generator.width")),
    damaged("target-missing", without("model._target_"), refused=True),
    damaged("data-kind-missing", without("data.kind"), refused=True),
    damaged(
        "config-of-another-run",
        settings({"model.generator.width": 3, "model.discriminator.width": 3}),
        refused=True,
    ),
]
