"""Archives (tar.gz, tgz, zip), read member by member."""
