"""Values that are drawn from a schema, as far as the server's description uses them."""

from hypothesis import strategies as st

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def of_schema(schema: dict) -> st.SearchStrategy:
    """Values that a schema of JSON allows. KeyError for a schema with a word that is not known here."""
    known = {
        "type",
        "minimum",
        "maximum",
        "minLength",
        "items",
        "minItems",
        "maxItems",
        "properties",
        "required",
        "enum",
        "const",
        "anyOf",
    }
    if unknown := set(schema) - known:
        raise KeyError(unknown)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    if "anyOf" in schema:
        return st.one_of([of_schema(each) for each in schema["anyOf"]])
    match schema["type"]:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "string":
            return st.text(min_size=schema.get("minLength", 0), max_size=6)
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            return st.floats(schema.get("minimum"), schema.get("maximum"))
        case "array":
            return st.lists(
                of_schema(schema["items"]),
                min_size=schema.get("minItems", 0),
                max_size=min(schema.get("maxItems", 3), 3),
            )
        case "object":
            fields, required = schema["properties"], schema["required"]
            return st.fixed_dictionaries(
                {name: of_schema(fields[name]) for name in required},
                optional={name: of_schema(each) for name, each in fields.items() if name not in required},
            )
    raise KeyError(schema)


def with_unknown_fields(values: st.SearchStrategy, names) -> st.SearchStrategy:
    """Objects with a few more fields, whose names are none of these."""
    more = st.dictionaries(st.text(max_size=4).filter(lambda name: name not in names), ANYTHING, max_size=2)
    return st.tuples(values, more).map(lambda both: both[1] | both[0])
