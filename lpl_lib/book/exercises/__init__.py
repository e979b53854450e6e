"""Checkers for the coding exercises of the book, a module for each chapter.

A chapter imports its own module and nothing else of the book does, so ``lpl_lib`` itself
does not load them.
"""
