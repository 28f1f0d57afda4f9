"""Say what is on photos by a bundle: python3 example.py net.edgepack photo.jpg.

Where edgepack is not installed the bundle itself has what is needed: PYTHONPATH=net.edgepack python3 example.py …
"""

import sys

import runner

with runner.load(sys.argv[1]) as network:
    print(network.choice)
    for photo in sys.argv[2:]:
        samples = network.decode(photo)  # or an array of yours: N x channels x height x width, as they were packed
        logits = network(samples)
        best = network.classes[logits[0].argmax()]
        print(photo, best, [f"{each.label} {each.probability:.1%}" for each in network.predict(samples, top=3)[0]])
