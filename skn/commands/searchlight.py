"""The command ``rsa``."""

from __future__ import annotations

from skn.commands import options as opt
from skn.commands import parse
from skn.commands import rsa_options as rsa_opt
from skn.commands.app import app


@app.command()
def rsa(
    attributes: rsa_opt.AttributeFile,
    activations: rsa_opt.Activations = None,
    sweep: opt.SweepDir = None,
    conditions: rsa_opt.Conditions = None,
    shape: opt.NeuronShape = None,
    out: rsa_opt.RsaOut = None,
    permutations: rsa_opt.Permutations = 0,
    seed: rsa_opt.RsaSeed = 0,
    partial: rsa_opt.PartialTau = False,
    leave_one_out: rsa_opt.LeaveOneOut = False,
    top: rsa_opt.StableTop = None,
    overwrite: opt.Overwrite = False,
) -> None:
    """Rank every neuron by how its distances between conditions resemble those of each attribute.

    Example: skn rsa --sweep sweeps/emotions --attributes ratings.csv --permutations 1000
    """
    chosen = {
        "conditions": parse.names_or_file(conditions, "--conditions"),
        "shape": parse.shape(shape),
        "top": parse.counts(top, "--top"),
    }
    from skn.rsa.search import SearchOptions
    from skn.stages.rsa import rsa as stage

    options = SearchOptions(
        permutations=permutations, seed=seed, partial=partial, leave_one_out=leave_one_out, **chosen
    )
    stage(attributes, activations, sweep, options, out, overwrite=overwrite)
