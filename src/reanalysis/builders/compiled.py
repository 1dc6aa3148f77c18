"""A PyMC model as three fast functions of its data, compiled once per model structure.

nutpie's own compilation of a PyMC model is done anew in every process and takes 14 CPU seconds
for the smallest model; PyTensor's is kept on disk and takes one second from the second process
on. nutpie therefore samples PyTensor's function. It costs about 10 µs more per call and holds
Python's lock, so chains take turns: for one fit that is a good bargain.

Without "fast math": it lets the machine code, and with it every draw, depend on whether a function
was compiled in this process or read from disk. It saves no measurable time here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.compile.mode import Mode
from pytensor.graph import clone_replace
from pytensor.graph.replace import vectorize_graph

__all__ = ["CompiledModel", "compile_model"]

Vector = NDArray[np.float64]

INTERPRETED = Mode(linker="py", optimizer=None)  # called once per fit: compiling would not pay


@dataclass(frozen=True, eq=False)
class CompiledModel:
    """Density and parameter transforms of a model structure.

    Attributes
    ----------
    size : int
        Length of the unconstrained parameter vector.
    inputs : tuple of (str, str)
        Name and dtype of each data array, in the order in which the functions take them.
    logp_and_gradient : callable
        ``(x, *data)`` to the log density at the unconstrained point and its gradient.
    constrain : callable
        ``(draws, *data)`` to the values of `names`, one per row of the unconstrained draws.
    unconstrain : callable
        ``(*values, *data)`` to the unconstrained point of free parameters.
    names : tuple of str
        Model parameters that `constrain` returns.
    free : tuple of (str, tuple of int)
        Free parameters that `unconstrain` takes, with their shapes.
    """

    size: int
    inputs: tuple[tuple[str, str], ...]
    logp_and_gradient: Callable[..., tuple[Vector, Vector]]
    constrain: Callable[..., list[Vector]]
    unconstrain: Callable[..., Vector]
    names: tuple[str, ...]
    free: tuple[tuple[str, tuple[int, ...]], ...]

    def arguments(self, data: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """Return data as the functions take it: in order, with the compiled dtypes, writable."""
        return [np.array(data[name], dtype=dtype, order="C") for name, dtype in self.inputs]


def compile_model(model: pm.Model, names: Sequence[str]) -> CompiledModel:
    """Compile a model into functions that take its data as arguments.

    Parameters
    ----------
    model : pymc.Model
        All data as `pymc.Data`.
    names : sequence of str
        Parameters whose constrained values are wanted.

    Returns
    -------
    CompiledModel
        Serves every model of the same structure.
    """
    shared = {variable.name: variable for variable in model.data_vars}
    inputs = {name: _input(variable) for name, variable in shared.items()}
    values = [model.rvs_to_values[rv] for rv in model.free_RVs]
    shapes = [tuple(int(n) for n in rv.shape.eval()) for rv in model.free_RVs]
    sizes = [int(np.prod(shape)) for shape in shapes]
    size = sum(sizes)

    x = pt.vector("x", shape=(size,), dtype="float64")
    pieces = [x[end - n : end] for n, end in zip(sizes, np.cumsum(sizes), strict=True)]
    replace = {shared[name]: inputs[name] for name in shared}
    at_x = {
        value: piece.reshape(shape)
        for value, piece, shape in zip(values, pieces, shapes, strict=True)
    }

    logp = model.logp()
    gradient = pt.concatenate([g.ravel() for g in pt.grad(logp, values)])
    logp, gradient = clone_replace([logp, gradient], {**replace, **at_x})
    with pytensor.config.change_flags(numba__fastmath=False):
        density = pytensor.function(
            [x, *inputs.values()], [logp, gradient], mode="NUMBA", on_unused_input="ignore"
        )
        example = [np.array(shared[name].get_value(), order="C") for name in inputs]
        density(np.zeros(size), *example)  # numba compiles on the first call
    if unseen := [variable.name for variable in density.get_shared()]:
        raise ValueError(f"{unseen} are shared variables of the model, but not its data")

    wanted = [v for v in model.unobserved_value_vars if v.name in names]
    draws = pt.matrix("draws", dtype="float64")
    outputs = vectorize_graph(clone_replace(wanted, {**replace, **at_x}), {x: draws})
    constrain = _interpreted([draws, *inputs.values()], outputs)

    start = [rv.type(name=rv.name) for rv in model.free_RVs]
    unconstrained = []
    for rv, value in zip(model.free_RVs, start, strict=True):
        transform = model.rvs_to_transforms[rv]
        forward = value if transform is None else transform.forward(value, *rv.owner.inputs)
        unconstrained.append(forward.ravel())
    (flat,) = clone_replace([pt.concatenate(unconstrained)], replace)
    unconstrain = _interpreted([*start, *inputs.values()], flat)

    return CompiledModel(
        size,
        tuple((name, variable.dtype) for name, variable in inputs.items()),
        density.vm.jit_fn,  # the compiled function itself, without the argument checks
        constrain,
        unconstrain,
        tuple(v.name for v in wanted),
        tuple(zip((rv.name for rv in model.free_RVs), shapes, strict=True)),
    )


def _input(variable: pt.TensorVariable) -> pt.TensorVariable:
    return pt.tensor(variable.name, dtype=variable.dtype, shape=(None,) * variable.ndim)


def _interpreted(inputs: list[pt.TensorVariable], outputs: object) -> pytensor.compile.Function:
    return pytensor.function(inputs, outputs, mode=INTERPRETED, on_unused_input="ignore")
