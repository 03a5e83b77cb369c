"""A large nested structure survives JSON and back; prints the digest of its text."""
import hashlib
import json

catalogue = [
    {
        "id": number,
        "name": f"item {number}",
        "price": number * 1.25,
        "tags": [f"tag-{number % divisor}" for divisor in range(2, 12)],
        "stock": {str(shop): number * shop % 97 for shop in range(8)},
        "note": "ü€𝄞" * (number % 9),
    }
    for number in range(20_000)
]

text = json.dumps(catalogue, sort_keys=True)
assert json.loads(text) == catalogue
assert json.loads(json.dumps(catalogue, indent=1)) == catalogue
print(hashlib.sha256(text.encode()).hexdigest())
