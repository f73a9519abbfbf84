from dataclasses import dataclass, field


@dataclass
class Article:
    url: str
    title: str
    author: str | None = None
    topics: list[str] = field(default_factory=list)
