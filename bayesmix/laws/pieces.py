"""Old name of `bayesmix.laws.components`; coordinates are in `bayesmix.laws.bijections`."""

from bayesmix.deprecation import moved

BIJECTIONS = "bayesmix.laws.bijections"
__getattr__ = moved(
    "bayesmix.laws.pieces",
    "bayesmix.laws.components",
    **{f"scale_{way}_theta": f"{BIJECTIONS}.LevelAndRises" for way in ("to", "from")},
    **{f"share_{way}_theta": f"{BIJECTIONS}.Slopes" for way in ("to", "from")},
    **{f"mixture_{way}_theta": f"{BIJECTIONS}.mixture_slopes" for way in ("to", "from")},
    **{f"falling_{way}_theta": f"{BIJECTIONS}.amplitude_slopes" for way in ("to", "from")},
    **{f"blend_{way}_theta": f"{BIJECTIONS}.by_domain_sites" for way in ("to", "from")},
    **{f"tilt_{way}_theta": f"{BIJECTIONS}.Tilt" for way in ("to", "from")},
    soft=f"{BIJECTIONS}.soft_floor",
    hard=f"{BIJECTIONS}.soft_floor_inverse",
    soft_share=f"{BIJECTIONS}.soft_unit",
    hard_share=f"{BIJECTIONS}.soft_unit_inverse",
)
