"""The session of a web request pays, and a task that is retried is charged once.

    asgi      middleware for Starlette, FastAPI and every other ASGI application
    fastapi   a dependency, and answers for refusals
    flask     the same for Flask
    django    middleware for Django, blocking and asynchronous
    celery    a task decorator

Each is imported by itself, and needs its framework.
"""
