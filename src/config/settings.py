"""The settings of each command: their types and what they mean, for every model and data set.

What a model or a data set adds are the arguments of its own constructor (`src/config/checks.py`).
"""

from dataclasses import dataclass
from typing import Literal

from src.config.ranges import NotNegativeFloat, NotNegativeInt, PositiveFloat, PositiveInt


@dataclass(kw_only=True)
class Wandb:
    """Weights & Biases.

    Attributes:
        mode: `auto` goes online with a key and a server that answers, else offline.
        project: the runs' home.
        group: W&B group of the runs of a sweep.
        tags: labels of your own, to filter by; names of model, data and experiment are added.
        artifact: upload what `sample` needs of the finished run, as an artifact of type `model`.
    """

    mode: Literal["auto", "online", "offline", "disabled"]
    project: str
    group: str | None
    tags: list[str]
    artifact: bool


@dataclass(kw_only=True)
class Trainer:
    """Device, precision, number of ranks, and what passes to Lightning's Trainer as it is.

    Its other arguments are fixed for all runs, or have another name here.

    Attributes:
        accelerator: `auto` takes a GPU if there is one.
        devices: number of ranks that share each batch, which stays as large: GPUs or processes.
        precision: `auto` is bfloat16 autocast where that is faster. float16 would need each
            player's loss scaled.
        deterministic: operations that give the same bits each time, on GPUs, or an error where
            there is none (`warn`: a warning).
        benchmark: have cuDNN try out which convolution is the fastest.
        detect_anomaly: name the operation whose gradient is NaN; see debug=nan.
        profiler: Lightning's, whose table goes to profile/ in the run folder; see debug=profile.
        overfit_batches: batches that are trained on again and again; see debug=overfit.
    """

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    devices: int
    precision: Literal["auto", "32-true", "bf16-mixed"]
    deterministic: bool | Literal["warn"] | None
    benchmark: bool | None
    detect_anomaly: bool
    profiler: Literal["simple", "advanced", "pytorch"] | None
    overfit_batches: PositiveInt


@dataclass(kw_only=True)
class Train:
    """Top-level settings of `python -m src.train`, the same for every model and data set.

    Attributes:
        seed: seed of weights, data order and noise.
        budget: samples to train on; each preset names its own.
        max_time: stop after this time of training: 90s, 10m, 1h30m. Scoring does not count.
        existing: action for a run folder that exists: `continue` (a finished run returns its
            summary, an interrupted one goes on, another configuration is refused), `resume` (go on
            in spite of another configuration) or `restart` (from nothing).
        plugins: packages of your own, whose classes may be chosen, such as [mypkg]; see
            docs/extending.md.
    """

    seed: int
    budget: int
    max_time: str | None
    existing: Literal["continue", "resume", "restart"]
    plugins: list[str]


@dataclass(kw_only=True)
class Sample:
    """Settings of `python -m src.sample`.

    Attributes:
        run: the run folder; it says everything about the model.
        plugins: packages whose classes it names, if you trust them.
        what: picture to draw; `levels` is of a pyramid (model=lapgan), from coarse to fine;
            `worst` has the held-out images that a translator translates worst; `mixing`, `layers`
            and `noise` are of styles (model=stylegan2); `projection` is the generator's image that
            is most like a photo; `reconstructions` are of your own pictures, by an autoencoder;
            `export` is the generator itself.
        n: samples, or rows of `worst`, an interpolation, levels or styles; of a traversal, rows of
            each structured code (InfoGAN), or number of latent dimensions (autoencoders), if there
            are as many.
        label: class of a conditional model, by name or index.
        seed: seed of the codes: the same seed gives the same picture.
        truncation: of styles, distance from their average as a share; with less than 1 samples are
            better and more alike.
        crossover: in `mixing`, the first layer that takes a column's style; null is the middle.
        in: your own pictures, for `reconstructions`: a file, a folder or a zip, of which the first
            n are taken; or the photo of a projection. The middle of each is resized to the model's
            size.
        steps: of a projection.
        data: `root`, where the data lie now, if they have moved, and `cache`; for `neighbours` and
            `worst`.
        out: `.png` is a grid, `.gif` an animation, `.npz` an array (`arr_0`, and `labels` of a
            conditional model, `codes` of reconstructions), `.onnx` and `.safetensors` are for
            `export`, anything else is a folder of PNGs. Of voxels `.gif` is a turntable, `.html`
            a page, `.obj`, `.stl` and `.glb` are meshes, and there are no folders.
        device: such as cpu or cuda; `auto` takes a GPU if there is one.
    """

    run: str
    plugins: list[str]
    what: Literal[
        "samples", "neighbours", "interpolation", "traversal", "levels", "worst", "mixing",
        "layers", "noise", "projection", "reconstructions", "export", "progress",
    ]  # fmt: skip
    n: int
    label: str | int | None
    seed: NotNegativeInt
    truncation: NotNegativeFloat
    crossover: PositiveInt | None
    in_: str | None
    steps: PositiveInt
    data: dict
    out: str
    device: str


@dataclass(kw_only=True)
class Translate:
    """Settings of `python -m src.translate`.

    Attributes:
        run: the run folder of a translator, such as model=srgan, pix2pix or cyclegan.
        plugins: packages whose classes it names, if you trust them.
        in: a photo, a folder or a zip of them; each is taken as the source that it is. EXIF's
            orientation is applied; transparency is kept. For shapes it is a picture of the model's
            size, without transparency.
        out: a file, or a folder where there are many photos. What voxels are made of them can be
            `.glb`, `.obj`, `.stl`, `.html`, `.gif`, `.png` or `.npz`; in a folder they are `.glb`.
        direction: `forward` is from sources to targets, `back` the other way, of a model that goes
            both ways, such as model=cyclegan.
        degrade: apply the run's own degradation first, and print how near the result comes.
        mask: for inpainting: an image of the photo's size, white where it is lost.
        label: class of a conditional model, by name or index.
        tile: side of the tiles of large photos, in pixels of the photo.
        seed: of a degradation that is random.
        device: such as cpu or cuda; `auto` takes a GPU if there is one.
    """

    run: str
    plugins: list[str]
    in_: str
    out: str
    direction: Literal["forward", "back"]
    degrade: bool
    mask: str | None
    label: str | int | None
    tile: PositiveInt
    seed: NotNegativeInt
    device: str


@dataclass(kw_only=True)
class Evaluate:
    """Settings of `python -m src.evaluate`.

    Attributes:
        run: the run folder.
        plugins: packages whose classes it names, if you trust them.
        truncation: of styles, see `Sample`; if it is not 1, numbers have it in their names.
        data: `root`, where the data lie now, if they have moved; `cache`, of reals' features.
        device: such as cpu or cuda; `auto` takes a GPU if there is one.
    """

    run: str
    plugins: list[str]
    truncation: NotNegativeFloat
    data: dict
    device: str


@dataclass(kw_only=True)
class Status:
    """Settings of `python -m src.status`.

    Attributes:
        runs: the folder whose runs are shown.
        watch: show them again and again.
        every: seconds between two times.
    """

    runs: str
    watch: bool
    every: PositiveFloat


@dataclass(kw_only=True)
class CompareWandb:
    """Weights & Biases, of `compare`.

    Attributes:
        log: write the tables and pictures into a run there.
        mode: `auto` goes online with a key and a server that answers, else offline.
        project: its home.
        group: such as that of the runs.
    """

    log: bool
    mode: Literal["auto", "online", "offline", "disabled"]
    project: str
    group: str | None


@dataclass(kw_only=True)
class Compare:
    """Settings of `python -m src.compare`.

    Attributes:
        runs: a folder with runs below, a pattern such as outputs/*/dcgan, wandb:entity/project or
            wandb:entity/project/group for runs of Weights & Biases, or a list [a,b] of these.
        plugins: packages whose classes they name, if you trust them.
        by: name of a group: `model`, a part such as `penalty`, a setting such as `budget`, or a
            list of these; null puts together what differs in the seed only.
        metric: `fid`, `fid10k` or `fid10k_mnist`; null takes the headline number of each data set.
        x: a setting of numbers, such as model.objective.beta, for out=curves.png.
        y: the numbers to draw against it, such as [mse,kl,mig]; null: the first 12.
        out: by its ending .html, .md, .tex, .csv or .json; a folder, whose name has no dot, gets
            all; null writes nothing. With x: .png, .svg or .pdf.
        pictures_mb: megabytes of the page's pictures; with less they are fewer and smaller, down to
            two of 160 pixels for each variant.
        wandb: wandb.log=true writes tables and pictures into a run of wandb.project and
            wandb.group; wandb.mode is auto, online, offline or disabled.
    """

    runs: str | list[str]
    plugins: list[str]
    by: str | list[str] | None
    metric: str | None
    x: str | None
    y: str | list[str] | None
    out: str | None
    pictures_mb: float
    wandb: dict
