"""Experiments: declared in a file, run by name, recorded run by run.

python -m lpl_lib.lab.run digits-lt50 --search     # choose hyper-parameters
python -m lpl_lib.lab.run digits-lt50              # run all methods on all seeds
python -m lpl_lib.lab.run digits-lt50 --table      # a table from the records
python -m lpl_lib.lab.run folder --data DIR        # your own images
"""
