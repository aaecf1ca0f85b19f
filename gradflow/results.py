"""What gradflow measures, fits and predicts: labelled datasets that show a summary first in a notebook."""

import xarray as xr


class Results(xr.Dataset):  # type: ignore[no-untyped-call] # xarray declares no types for subclassing
    """An `xarray.Dataset` from gradflow: all of xarray, and in Jupyter a summary with the whole behind it.

    What is taken of one (`isel`, arithmetic, `assign`) is one again, with the summary of what is left.
    Merging and concatenating give plain datasets, which `Results.of` turns into results. `gradflow.save`
    writes it, `gradflow.load` brings it back.

    >>> one = Results({"rate": ("layer", [-0.5])}, attrs={"kind": "jacobian products"})
    >>> type(one.isel(layer=[0])).__name__, one.rate.item(), "0.5" in one._repr_html_()
    ('Results', -0.5, True)
    """

    __slots__ = ()

    @classmethod
    def of(cls, data: xr.Dataset) -> "Results":
        """Return the same variables, coordinates and attributes (not copied) as results.

        >>> Results.of(xr.Dataset({"rate": -0.5}, attrs={"end": 9})).attrs
        {'end': 9}
        """
        return data if isinstance(data, cls) else cls(data.data_vars, data.coords, data.attrs)

    def __repr__(self) -> str:
        return super().__repr__().replace("<xarray.Results", "<gradflow.Results", 1)

    def _repr_html_(self) -> str:
        from gradflow.showing import html

        return html(self, whole=super()._repr_html_())
