"""Configuration of the documentation site: `make docs` writes it to `docs/_build/`.

The pages are the Markdown files of the repository as they are, README.md is the first one, and the
list of pages at the side is added here, since it would be no help to those who read the files.
"""

from sphinx.application import Sphinx

project = "Sparring"
root_doc = "README"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/results/*.md",
    "benchmarks/**.md",
]
extensions = ["myst_parser"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = project
html_copy_source = False

PAGES = {
    "Models": [
        "gan", "wasserstein", "regularised", "conditional", "stylegan", "lapgan", "three_d",
        "autoencoder",
        "layerwise", "vae", "vaegan", "translation", "unpaired",
    ],
    "Use": [
        "data", "metrics", "compare", "sweeps", "python", "extending", "wandb", "debugging",
        "health", "scaling", "trust",
    ],
    "Measured": [
        "results/mnist", "results/celeba", "mixtures", "results/mixtures",
        "results/gan", "results/regularised", "results/stylegan", "results/lapgan",
        "results/vae", "results/three_d", "results/unpaired", "results/adaptation",
        "results/metrics", "results/health",
        "/benchmarks/README", "/benchmarks/results/verdicts",
    ],
    "Develop": ["/CONTRIBUTING"],
}  # fmt: skip


def add_pages(_: Sphinx, name: str, source: list[str]) -> None:
    """Append the list of all pages to the first one."""
    if name != root_doc:
        return
    for caption, pages in PAGES.items():
        paths = "\n".join(page if page[0] == "/" else f"/docs/{page}" for page in pages)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{paths}\n```\n"


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_pages)
