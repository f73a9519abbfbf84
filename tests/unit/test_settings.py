"""Settings: five layers, the later wins; every mistake is named with its place and what would be right."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import crawler
from crawler.errors import ConfigError
from crawler.settings import Settings, load, meanings, override, parse_override, problems_for_one, shown_settings
from crawler.worker.instructions import Instructions, read_instructions

# ---------------------------------------------------------------------------------------------------------
# Layers


def test_without_anything_the_defaults_are_in_force(tmp_path: Path) -> None:
    settings, origins = load(tmp_path, environ={})
    assert settings == Settings()
    assert origins == {}


def test_each_layer_wins_over_the_ones_before(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("DOWNLOAD_DELAY = 2\nRETRY_TIMES = 5\nUSER_AGENT = 'mine'\n_X = helper = 1\n")
    environ = {"CRAWLER_RETRY_TIMES": "6", "CRAWLER_USER_AGENT": "ours"}
    settings, origins = load(tmp_path, overrides={"USER_AGENT": "yours"}, environ=environ)
    assert (settings.DOWNLOAD_DELAY, settings.RETRY_TIMES, settings.USER_AGENT) == (2.0, 6, "yours")
    assert origins == {
        "DOWNLOAD_DELAY": str(tmp_path / "settings.py"),
        "RETRY_TIMES": "environment",
        "USER_AGENT": "-s",
    }


def test_a_spider_overrides_what_is_not_set_closer_to_the_user() -> None:
    settings = Settings(DOWNLOAD_DELAY=2.0, DEPTH_LIMIT=3)
    changed = override(settings, {"DOWNLOAD_DELAY": 9, "DEPTH_LIMIT": 9}, "spider x", keep=("DEPTH_LIMIT",))
    assert (changed.DOWNLOAD_DELAY, changed.DEPTH_LIMIT) == (9.0, 3)
    with pytest.raises(ConfigError, match=r"DEPTH_LIMT \(from spider x\); did you mean DEPTH_LIMIT"):
        override(settings, {"DEPTH_LIMT": 1}, "spider x")


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"REDIS_URL": "redis://a"}, "redis://a"),
        ({"REDIS_URL": "redis://a", "CRAWLER_REDIS_URL": "redis://b"}, "redis://b"),
        ({"REDIS_URL": ""}, ""),
        ({"CRAWLER_SERVICE_HOST": "10.0.0.1", "CRAWLER_PORT_80_TCP_ADDR": "10.0.0.1"}, ""),  # put there by Kubernetes
        ({"CRAWLER_REDIS_SERVICE_HOST": "10.0.0.1", "CRAWLER_REDIS_PORT": "tcp://10.0.0.1:6379"}, ""),
        ({"CRAWLER_REDIS_PASSWORD": "x", "CRAWLER_VENV": "y"}, ""),  # read by docker-compose.yml and scripts/
    ],
)
def test_redis_url_is_read_as_other_programs_name_it(tmp_path: Path, environ: dict[str, str], url: str) -> None:
    settings, _ = load(tmp_path, environ=environ)
    assert url == settings.REDIS_URL


# ---------------------------------------------------------------------------------------------------------
# Values as a person writes them


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("DOWNLOAD_DELAY", "0.5", 0.5),
        ("DOWNLOAD_DELAY", "2", 2.0),
        ("RETRY_TIMES", " 3 ", 3),
        ("ROBOTSTXT_OBEY", "no", False),
        ("ROBOTSTXT_OBEY", "True", True),
        ("ALLOWED_NETWORKS", "127.0.0.0/8, 10.0.0.0/8", ("127.0.0.0/8", "10.0.0.0/8")),
        ("ALLOWED_NETWORKS", '["::1/128"]', ("::1/128",)),
        ("ALLOWED_NETWORKS", "", ()),
        ("RETRY_HTTP_CODES", "500,503", (500, 503)),
        ("DEFAULT_REQUEST_HEADERS", '{"accept": "*/*"}', {"accept": "*/*"}),
        ("DOWNLOADER_MIDDLEWARES", "m.first, m.second", ("m.first", "m.second")),
        ("DOWNLOADER_MIDDLEWARES", '{"m.second": 543, "m.off": null, "m.first": 100}', ("m.first", "m.second")),
        ("LOG_LEVEL", "DEBUG", "DEBUG"),
        ("USER_AGENT", "bot/1 (+https://example.com)", "bot/1 (+https://example.com)"),
    ],
)
def test_text_is_read_as_the_type_of_the_setting(tmp_path: Path, name: str, text: str, value: object) -> None:
    assert getattr(load(tmp_path, overrides={name: text}, environ={})[0], name) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("DOWNLOAD_DELAY", "1,5", r"DOWNLOAD_DELAY='1,5' \(from -s\): expected a number such as 0.5, got text"),
        ("CONCURRENT_REQUESTS", "1.5", r"CONCURRENT_REQUESTS='1.5' \(from -s\): expected a whole number, got text"),
        ("DOWNLOAD_DELAY", "inf", r"DOWNLOAD_DELAY='inf' \(from -s\): expected a number up to 1,000,000,000"),
        ("BACKOFF_SECONDS", "1e10", r"BACKOFF_SECONDS='1e10' \(from -s\): expected a number up to 1,000,000,000"),
        ("CONCURRENT_REQUESTS", "9" * 20, r"expected a number up to 1,000,000,000,000"),
        ("RETRY_HTTP_CODES", "5000", r"RETRY_HTTP_CODES='5000' \(from -s\): expected a whole number <= 999"),
        ("USER_AGENT", "bot/1\nx: y", r"USER_AGENT: headers\['user-agent'\] holds a line break"),
        ("DEFAULT_REQUEST_HEADERS", '{"a b": "c"}', r"DEFAULT_REQUEST_HEADERS: headers: 'a b' is no name of a header"),
        ("DOWNLOAD_DELAY", "-1", r"DOWNLOAD_DELAY='-1' \(from -s\): .*>= 0"),
        ("CONCURRENT_REQUESTS", "0", ">= 1"),
        ("ROBOTSTXT_OBEY", "maybe", "expected true or false"),
        ("LOG_LEVEL", "debug", "expected one of DEBUG, INFO, WARNING, ERROR"),
        ("ALLOWED_NETWORKS", "localhost", "'localhost' is not a network; write it like"),
        ("DEFAULT_REQUEST_HEADERS", "{", r"DEFAULT_REQUEST_HEADERS=.* expected JSON, such as \{"),
        ("ROUTES", "shop=eu", r"ROUTES='shop=eu' \(from -s\): expected JSON, such as \{"),
        ("DOWNLOADER_MIDDLEWARES", '{"m.first": "soon"}', "expected a number for each name"),
        ("ROUTES", '{"jobs:news": "fast"}', "ROUTES: 'jobs:news' is no subject; write job:news"),
        ("DOWNLOAD_DELY", "1", r"unknown setting DOWNLOAD_DELY \(from -s\); did you mean DOWNLOAD_DELAY\?"),
        ("xyzzy", "1", r"unknown setting xyzzy \(from -s\); a name has capitals, digits and _"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_could(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, overrides={name: text}, environ={})


def test_a_variable_that_no_setting_has_is_a_mistake(tmp_path: Path) -> None:
    told = r"unknown setting CRAWLER_DOWNLOAD_DELY \(from environment\); did you mean CRAWLER_DOWNLOAD_DELAY\?"
    with pytest.raises(ConfigError, match=told):
        load(tmp_path, environ={"CRAWLER_DOWNLOAD_DELY": "1"})


def test_a_setting_in_small_letters_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("log_level = 'DEBUG'\nLOG_LEVEL = log_level\n")
    assert load(tmp_path, environ={})[0].LOG_LEVEL == "DEBUG"
    (tmp_path / "settings.py").write_text("download_delay = 5\n")
    with pytest.raises(ConfigError, match=r"unknown setting download_delay .*; did you mean DOWNLOAD_DELAY\?"):
        load(tmp_path, environ={})


def test_a_setting_of_scrapy_says_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("A = 1\nDNS_RESOLVER = 'my.Resolver'\n")
    told = r"DNS_RESOLVER='my.Resolver' is a setting of Scrapy \(from .*settings.py:2\): the system's resolver is used"
    with pytest.raises(ConfigError, match=told):
        load(tmp_path, environ={})


@pytest.mark.parametrize("header", ["authorization", "Cookie", "Proxy-Authorization", "X-Api-Key"])
def test_no_credentials_for_all_hosts(tmp_path: Path, header: str) -> None:
    (tmp_path / "settings.py").write_text(f"DEFAULT_REQUEST_HEADERS = {{{header!r}: 'geheim', 'accept': '*/*'}}\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, environ={})
    told = str(caught.value)
    assert f"DEFAULT_REQUEST_HEADERS has {header}, which every host would get" in told
    assert 'HTTP_AUTH = {"https://a.example": "user:password"}' in told
    assert "geheim" not in told


def test_logins_are_checked_at_start_and_shown_to_nobody(tmp_path: Path) -> None:
    environ = {"CRAWLER_HTTP_AUTH": '{"https://a.example": "me:geheim"}'}
    settings, _ = load(tmp_path, environ=environ)
    assert settings.HTTP_AUTH == {"https://a.example": "me:geheim"}
    assert shown_settings(settings)["HTTP_AUTH"] == {"https://a.example": "***"}
    for wrong in (
        '{"a.example": "me:geheim"}',
        '{"https://a.example": "geheim"}',
        '{"https://a.example": ["geheim"]}',
        "geheim",
    ):
        with pytest.raises(ConfigError, match="HTTP_AUTH") as caught:
            load(tmp_path, environ={"CRAWLER_HTTP_AUTH": wrong})
        assert "geheim" not in str(caught.value)


def test_an_error_never_shows_the_password_of_the_queue_server(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("REDIS_URL = ['redis://:geheim@host']\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, environ={})
    assert "REDIS_URL" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_an_error_in_a_settings_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("import os\nUSER_AGENT = {}['x']\n")
    with pytest.raises(ConfigError, match=r"settings\.py: KeyError: 'x' \(.*/settings\.py:2\)"):
        load(tmp_path, environ={})


@pytest.mark.parametrize(
    "source", ["DOWNLOAD_DELAY = ", "raise RuntimeError('x')", "import nothing_like_this", "import sys; sys.exit(0)"]
)
def test_a_settings_file_that_fails_is_named(tmp_path: Path, source: str) -> None:
    (tmp_path / "settings.py").write_text(source)
    with pytest.raises(ConfigError, match=str(tmp_path / "settings.py")):
        load(tmp_path, environ={})


@pytest.mark.parametrize(
    ("text", "pair"),
    [("DOWNLOAD_DELAY=1", ("DOWNLOAD_DELAY", "1")), (" USER_AGENT =a=b ", ("USER_AGENT", "a=b "))],
)
def test_an_override_is_a_name_and_all_behind_the_first_sign(text: str, pair: tuple[str, str]) -> None:
    assert parse_override(text) == pair


@pytest.mark.parametrize("text", ["DOWNLOAD_DELAY", "=3", " =3"])
def test_an_override_without_a_name_or_a_value_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ConfigError, match="expected NAME=VALUE"):
        parse_override(text)


# ---------------------------------------------------------------------------------------------------------
# Use


def test_every_setting_has_its_meaning_and_times_have_their_unit() -> None:
    means = meanings()
    assert list(means) == list(Settings.__struct_fields__)
    assert [name for name, meaning in means.items() if not meaning] == []
    assert means["DOWNLOAD_DELAY"] == "seconds between the starts of two requests to one host"
    assert means["PACE_PER"].startswith("which hosts share their turns: those at one address"), "a comment above"
    assert means["PACE_PER"].endswith("or none")


def test_every_setting_is_read_somewhere() -> None:
    """As `settings.NAME` outside `settings.py`: a setting that changes nothing misleads whoever sets it."""
    root = Path(crawler.__file__).parent
    sources = (path.read_text() for path in root.rglob("*.py") if path != root / "settings.py")
    read = {name for source in sources for name in re.findall(r"\bsettings\.([A-Z][A-Z0-9_]+)\b", source)}
    assert set(Settings.__struct_fields__) - read == set()


def test_all_wrong_settings_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("DOWNLOAD_DELAY = 'slow'\nDOWNLOAD_DELY = 1\nALLOWED_NETWORKS = ['home']\n")
    with pytest.raises(ConfigError) as error:
        load(tmp_path, overrides={"RETRY_TIME": "1"}, environ={"CRAWLER_SHARDS": "-1"})
    told = str(error.value).splitlines()
    assert len(told) == 5
    for name in ("DOWNLOAD_DELAY=", "DOWNLOAD_DELY", "ALLOWED_NETWORKS", "RETRY_TIME", "SHARDS"):
        assert any(name in line for line in told)


@pytest.mark.parametrize("name", ["FEED_EXPORT_FIELDS", "FEEDS['a.csv']: fields"])
def test_fields_of_one_name_are_refused(tmp_path: Path, name: str) -> None:
    fields = {"a": "x", "b": "x"}
    made = {"FEED_EXPORT_FIELDS": fields} if name == "FEED_EXPORT_FIELDS" else {"FEEDS": {"a.csv": {"fields": fields}}}
    (tmp_path / "settings.py").write_text("".join(f"{key} = {value!r}\n" for key, value in made.items()))
    with pytest.raises(ConfigError, match=re.escape(f"{name}: the name 'x' stands there twice")):
        load(tmp_path, environ={})


def test_all_that_is_wrong_in_the_settings_for_one_spider_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(
        "SPIDERS = {'shop': {'rate': '10 a minute', 'DOWNLOAD_DELAI': 2, 'RETRY_TIMES': -1, 'PROCESSES': 2},\n"
        "           'news': {'FEEDS': {'a.csv': {'x': 1}}, 'DEPTH_LIMITS': 1},\n"
        "           'site': {'rate': '10/m', 'DEPTH_LIMIT': '3'}}\n"
    )
    with pytest.raises(ConfigError) as error:
        load(tmp_path, environ={})
    told = str(error.value).splitlines()
    for line, words in zip(
        told,
        (
            r"rate in SPIDERS['shop']: '10 a minute' is not a rate: write 10/s, 30/m or 0.5/h",
            r"unknown setting DOWNLOAD_DELAI (from SPIDERS['shop']); did you mean DOWNLOAD_DELAY?",
            r"setting RETRY_TIMES=-1 (from SPIDERS['shop']): expected a whole number >= 0",
            r"PROCESSES in SPIDERS['shop']: no spider can set it; set it in settings.py, or with -s",
            r"FEEDS['a.csv']: unknown word 'x'; there are format, fields",
            r"unknown setting DEPTH_LIMITS (from SPIDERS['news']); did you mean DEPTH_LIMIT?",
        ),
        strict=True,
    ):
        assert words in line


@pytest.mark.parametrize("spiders", ["shop", {"shop": 5}, {5: {"RETRY_TIMES": 1}}, {"shop": {5: 1}}])
def test_settings_for_spiders_are_a_table_of_tables(tmp_path: Path, spiders: object) -> None:
    (tmp_path / "settings.py").write_text(f"SPIDERS = {spiders!r}\n")
    with pytest.raises(ConfigError, match=r"setting SPIDERS=.* \(from .*settings.py:1\)"):
        load(tmp_path, environ={})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("INSTALLED_APPS = ['a']\nDEBUG = True\n", "Django .*folder of its own"),
        ("INSTALLED_APPS = []\nimport os\nKEY = os.environ['NO_SUCH_VARIABLE']\n", "Django .*folder of its own"),
        ("BOT_NAME = 'shop'\nFEED_STORAGES = {'a': 'b'}\n", r"Scrapy .*`crawler migrate \.` says all"),
    ],
)
def test_a_settings_file_of_another_program_is_recognized(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(text)
    with pytest.raises(ConfigError, match=rf"settings.py is a settings file of {told}"):
        load(tmp_path, environ={})


# ---------------------------------------------------------------------------------------------------------
# Scrapy's, and the user's own

PROJECT = """
import logging
from pathlib import Path
BOT_NAME = "shop"
SPIDER_MODULES = ["shop.spiders"]
NEWSPIDER_MODULE = "shop.spiders"
RETRY_TIMES = 5
RETRY_ENABLED = False
RANDOMIZE_DOWNLOAD_DELAY = True
DOWNLOAD_DELAY_JITTER = 0.2
LOG_LEVEL = logging.WARNING
LOG_FORMAT = "%(levelname)s: %(message)s"
TWISTED_REACTOR = "twisted.internet.asyncioreactor.AsyncioSelectorReactor"
DOWNLOAD_TIMEOUT = None
COOKIES_ENABLED = False
MONGO_URI = "mongodb://me:geheim@host/db"
OPENAI_KEY = "geheim"
USER_AGENTS = ["a/1", "b/2"]
STORE = Path("out")
"""


def test_a_settings_file_of_scrapy_loads(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(PROJECT)
    settings, origins = load(tmp_path, environ={})
    assert settings.SPIDER_MODULES == ("shop.spiders",)
    assert settings.RETRY_TIMES == 0, "RETRY_ENABLED is off, wherever it stands"
    assert settings.DOWNLOAD_DELAY_JITTER == 0.2, "of two numbers the smaller"
    assert settings.LOG_LEVEL == "WARNING"
    assert settings.LOG_RENDERER == "auto"
    assert settings.DOWNLOAD_TIMEOUT == 60, "None: not set"
    assert origins["RETRY_TIMES"] == f"{tmp_path / 'settings.py'}, as RETRY_ENABLED"
    own = {name: settings.OWN[name] for name in ("BOT_NAME", "RETRY_ENABLED", "USER_AGENTS", "STORE")}
    assert own == {"BOT_NAME": "shop", "RETRY_ENABLED": False, "USER_AGENTS": ["a/1", "b/2"], "STORE": "out"}
    assert origins["USER_AGENTS"] == str(tmp_path / "settings.py")
    assert "geheim" not in str(shown_settings(settings))
    assert shown_settings(settings)["OWN"]["MONGO_URI"] == "mongodb://me:***@host/db"


def test_own_names_travel_to_a_worker_process(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(PROJECT)
    settings, origins = load(tmp_path, environ={})
    instructions = Instructions("w", 1, 2, settings, tuple(origins), str(tmp_path), ())
    assert read_instructions(instructions.line()).settings == settings


def test_a_later_layer_sets_names_of_ones_own_too(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(
        "TARGET = 1\nUSER_AGENTS = ['a']\nOTHER = 1\nOWN = {'DOWNLOAD_DELAYS': [1]}\n"
    )
    environ = {"CRAWLER_TARGET": "2", "CRAWLER_OTHER": "2"}
    settings, origins = load(tmp_path, overrides={"OTHER": "3", "USER_AGENTS": "x"}, environ=environ)
    assert settings.OWN == {"TARGET": "2", "USER_AGENTS": "x", "OTHER": "3", "DOWNLOAD_DELAYS": [1]}
    assert origins["OTHER"] == "-s"
    assert override(settings, {"OTHER": 4, "MINE": 5}, "spider x", keep=["OTHER"]).OWN["OTHER"] == "3"
    assert override(settings, {"OTHER": 4, "MINE": 5}, "spider x", keep=["OTHER"]).OWN["MINE"] == 5


def test_a_name_of_ones_own_that_is_near_to_a_setting_says_how_it_is_kept(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("USER_AGENTS = 'agents.txt'\n")
    told = r'USER_AGENTS \(from .*settings.py:1\); did you mean USER_AGENT\?.* write OWN = \{"USER_AGENTS": …\}'
    with pytest.raises(ConfigError, match=told):
        load(tmp_path, environ={})
    (tmp_path / "settings.py").write_text("OWN = {'USER_AGENTS': 'agents.txt'}\n")
    assert load(tmp_path, environ={})[0].OWN == {"USER_AGENTS": "agents.txt"}
    assert load(tmp_path, overrides={"USER_AGENTS": "b.txt"}, environ={})[0].OWN == {"USER_AGENTS": "b.txt"}


@pytest.mark.parametrize(
    ("value", "what"),
    [("object()", "a object"), ("{1: 2}", "a table whose names are not all text"), ("[b'x']", "a bytes")],
)
def test_a_value_of_ones_own_that_cannot_travel_is_a_mistake(tmp_path: Path, value: str, what: str) -> None:
    (tmp_path / "settings.py").write_text(f"A = 1\nMINE = {value}\n")
    with pytest.raises(ConfigError, match=rf"MINE \(from .*settings.py:2\): {what} cannot travel to worker processes"):
        load(tmp_path, environ={})


def test_all_that_a_settings_file_of_scrapy_misses_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(
        "FEED_STORAGES = {'sftp': 'shop.Sftp'}\nHTTPAUTH_PASS = 'geheim'\nDEPTH_PRIORITY = -1\n"
        "SPIDER_MIDDLEWARES = {\n    'shop.middlewares.Mine': 543,\n}\n"
    )
    with pytest.raises(ConfigError) as error:
        load(tmp_path, environ={})
    for line, words in zip(
        str(error.value).splitlines(),
        (
            "FEED_STORAGES={'sftp': 'shop.Sftp'} is a setting of Scrapy (from ",
            "HTTPAUTH_PASS=*** is a setting of Scrapy (from ",
            "settings.py:3): pages near the seeds come first; for depth first seed the job with --order lifo",
            "settings.py:4): what they do to items, ITEM_PIPELINES do; to responses, DOWNLOADER_MIDDLEWARES",
        ),
        strict=True,
    ):
        assert words in line


def test_settings_of_one_spider_may_be_scrapys_or_its_own() -> None:
    given = {"RETRY_ENABLED": False, "BOT_NAME": "x", "MY_LIMIT": 3, "CONCURRENT_REQUESTS_PER_IP": 2}
    assert list(problems_for_one(given, "custom_settings")) == []
    changed = override(Settings(), given, "spider x")
    assert (changed.RETRY_TIMES, changed.CONCURRENT_REQUESTS_PER_DOMAIN) == (0, 2)
    assert changed.OWN["MY_LIMIT"] == 3


def test_the_environment_names_a_setting_of_scrapy_as_it_was_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"CRAWLER_FEED_URI_PARAMS='x' is a setting of Scrapy \(from environment\)"):
        load(tmp_path, environ={"CRAWLER_FEED_URI_PARAMS": "x"})
    assert load(tmp_path, environ={"CRAWLER_LOG_FORMAT": "json"})[0].LOG_RENDERER == "json"


# ---------------------------------------------------------------------------------------------------------
# scrapy.cfg


def project(folder: Path, name: str, cfg: str, settings: str = "DOWNLOAD_DELAY = 7\n") -> None:
    (folder / "scrapy.cfg").write_text(cfg)
    (folder / name).mkdir()
    (folder / name / "base.py").write_text("DEPTH_LIMIT = 4\n")
    (folder / name / "settings.py").write_text(settings)


@pytest.fixture
def forgets() -> Iterator[None]:
    """Forgets what a test has imported."""
    before, path = dict(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]


@pytest.mark.usefixtures("forgets")
def test_scrapy_cfg_leads_to_the_settings_which_may_import_their_neighbours(tmp_path: Path) -> None:
    project(tmp_path, "toys", "[settings]\ndefault = toys.settings\n", "from .base import *\nDOWNLOAD_DELAY = 7\n")
    settings, origins = load(tmp_path, environ={})
    assert (settings.DOWNLOAD_DELAY, settings.DEPTH_LIMIT) == (7, 4)
    assert origins["DOWNLOAD_DELAY"] == str(tmp_path / "toys" / "settings.py")
    (tmp_path / "settings.py").write_text("DOWNLOAD_DELAY = 8\n")
    assert load(tmp_path, environ={})[0].DOWNLOAD_DELAY == 8, "one's own settings.py comes first"


@pytest.mark.usefixtures("forgets")
def test_settings_of_another_project_of_the_same_name_are_not_taken(tmp_path: Path) -> None:
    for one in ("a", "b"):
        (tmp_path / one).mkdir()
        project(tmp_path / one, "gnomes", "[settings]\ndefault = gnomes.settings\n")
    load(tmp_path / "a", environ={})
    with pytest.raises(ConfigError, match=r"the name gnomes is taken by .*/a/gnomes/settings.py; rename the folder"):
        load(tmp_path / "b", environ={})


@pytest.mark.parametrize(
    ("cfg", "told"),
    [
        ("[settings]\ndefault = other.settings\n", r"names the settings other.settings, but there is no .*other/setti"),
        (
            "[deploy]\n",
            r"scrapy.cfg: it names no settings; write \[settings\] and, below it, default = PROJECT.settings",
        ),
        ("no ini file", "scrapy.cfg: it names no settings"),
    ],
)
def test_a_scrapy_cfg_that_leads_nowhere_says_what_to_write(tmp_path: Path, cfg: str, told: str) -> None:
    project(tmp_path, "shop", cfg)
    with pytest.raises(ConfigError, match=told):
        load(tmp_path, environ={})


def test_inside_a_project_of_scrapy_one_is_led_to_its_folder(tmp_path: Path) -> None:
    project(tmp_path, "shop", "[settings]\ndefault = shop.settings\n")
    (tmp_path / "shop" / "spiders").mkdir()
    (tmp_path / "docs").mkdir()
    for inside in ("shop", "shop/spiders"):
        with pytest.raises(ConfigError, match=f"is inside the Scrapy project {tmp_path}: run the command there"):
            load(tmp_path / inside, environ={})
    assert load(tmp_path / "docs", environ={})[1] == {}
