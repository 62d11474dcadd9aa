from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perdure import errors
from perdure.hosts.local import settings


def write(folder: Path, *, host: Any = None, local: Any = None) -> Path:
    for name, value in (("host.json", host), ("local.settings.json", local)):
        if value is not None:
            (folder / name).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return folder


def hub(name: str) -> dict[str, Any]:
    return {"extensions": {"durableTask": {"hubName": name}}}


def test_without_files_the_defaults_hold(tmp_path: Path) -> None:
    told = settings.load(tmp_path, {})

    assert told == settings.Settings(tmp_path, tmp_path / ".perdure" / "default")
    assert (told.host, told.port, told.route_prefix, told.body_limit) == ("127.0.0.1", 7071, "api", 104857600)


def test_a_flag_wins_over_all(tmp_path: Path) -> None:
    write(tmp_path, local={"Host": {"LocalHttpPort": 8000}})

    told = settings.load(tmp_path, {"TASKHUB_NAME": "other"}, hub=tmp_path / "here", host="::1", port=0)

    assert (told.hub, told.host, told.port) == (tmp_path / "here", "::1", 0)


@pytest.mark.parametrize(
    ("environ", "local", "host", "expected"),
    [
        ({"TASKHUB_NAME": "env"}, "values", hub("file"), "env"),
        ({}, "values", hub("file"), "values"),
        ({}, None, hub("file"), "file"),
        ({}, None, hub("%TASKHUB_NAME%"), "default"),
        ({"STAGE": "test"}, None, hub("hub-%STAGE%"), "hub-test"),
        ({"AzureFunctionsJobHost__extensions__durableTask__hubName": "over"}, None, hub("file"), "over"),
        ({"AZUREFUNCTIONSJOBHOST__EXTENSIONS__DURABLETASK__HUBNAME": "over"}, None, {}, "over"),
        ({}, None, None, "default"),
    ],
)
def test_the_task_hub_is_named_in_this_order(
    tmp_path: Path, environ: dict[str, str], local: str | None, host: Any, expected: str
) -> None:
    write(tmp_path, host=host, local={"Values": {"TASKHUB_NAME": local}} if local else None)

    told = settings.load(tmp_path, environ)

    assert told.task_hub == expected
    assert told.hub == tmp_path / ".perdure" / expected


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "x" * 64, "a b"])
def test_a_hub_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, host=hub(name))

    if name == "":
        assert settings.load(tmp_path, {}).task_hub == "default"
    else:
        with pytest.raises(errors.UsageError, match="task hub"):
            settings.load(tmp_path, {})


def test_a_placeholder_that_is_not_set_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, host=hub("%MISSING%"))

    with pytest.raises(errors.UsageError, match=r"hubName refers to %MISSING%.*Set MISSING"):
        settings.load(tmp_path, {})


def test_values_reach_user_code_where_the_environment_has_none(tmp_path: Path) -> None:
    write(tmp_path, local={"Values": {"A": "file", "B": "file", "N": 3, "T": True, "NONE": None}})
    environ = {"A": "env"}

    settings.load(tmp_path, environ).apply(environ)

    assert environ == {"A": "env", "B": "file", "N": "3", "T": "true"}


def test_encrypted_settings_are_refused_with_the_remedy(tmp_path: Path) -> None:
    write(tmp_path, local={"IsEncrypted": True, "Values": {}})

    with pytest.raises(errors.UsageError, match="func settings decrypt"):
        settings.load(tmp_path, {})


def test_the_route_prefix_and_cors_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        host={"extensions": {"http": {"routePrefix": "/flows/"}}},
        local={"Host": {"CORS": "https://a.example.com, https://b.example.com", "CORSCredentials": True}},
    )

    told = settings.load(tmp_path, {})

    assert told.route_prefix == "flows"
    assert told.cors.origins == ("https://a.example.com", "https://b.example.com")
    assert told.cors.credentials


def test_an_empty_route_prefix_is_none(tmp_path: Path) -> None:
    assert settings.load(write(tmp_path, host={"extensions": {"http": {"routePrefix": ""}}}), {}).route_prefix == ""


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"PERDURE_BASE_URL": "flows.example.com"}, "PERDURE_BASE_URL"),
        ({"PERDURE_TRUSTED_PROXIES": "10.0.0.0/8, proxy"}, "'proxy'"),
        ({"PERDURE_ALLOWED_HOSTS": "hub.example, https://hub.example"}, "'https://hub.example'"),
        ({"PERDURE_ALLOWED_HOSTS": "*.hub.example"}, "'*.hub.example'"),
        ({"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1 MB"}, "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"),
        ({"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "0"}, "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"),
    ],
)
def test_a_bad_environment_value_is_refused_by_name(tmp_path: Path, environ: dict[str, str], said: str) -> None:
    with pytest.raises(errors.UsageError, match=said):
        settings.load(tmp_path, environ)


@pytest.mark.parametrize("port", [-1, 65536, "x", True, 1.5])
def test_a_bad_port_is_refused(tmp_path: Path, port: Any) -> None:
    with pytest.raises(errors.UsageError, match="LocalHttpPort"):
        settings.load(write(tmp_path, local={"Host": {"LocalHttpPort": port}}), {})


def test_invalid_json_is_told_with_its_place(tmp_path: Path) -> None:
    write(tmp_path, host='{\n  // a comment\n  "version": 2.0,\n  "x": oops\n}')

    with pytest.raises(errors.UsageError, match=r"host\.json, line 4, column 8"):
        settings.load(tmp_path, {})


def test_json_that_is_no_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="JSON object"):
        settings.load(write(tmp_path, host="[]"), {})


def test_comments_are_no_part_of_the_json_and_strings_keep_theirs(tmp_path: Path) -> None:
    write(tmp_path, local='\ufeff{ /* two\nlines */ "Values": {"URL": "http://x/*y*/", "Q": "a\\"//b"} // end\n}')

    assert settings.load(tmp_path, {}).values == {"URL": "http://x/*y*/", "Q": 'a"//b'}
