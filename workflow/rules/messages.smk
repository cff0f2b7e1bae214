# What the terminal says of failures and locks; stale outputs are made anew. See workflow/terminal.py
sys.path.insert(0, str(ROOT / "workflow"))

import terminal

if IS_MAIN:
    terminal.set_up(workflow, is_stale, missing_gpu)
    terminal.run_ahead(ANSWERED)


onstart:
    # a rule that ran again because the study has changed would hide other changes from the jobs
    # behind it (Snakemake skips them), so the file is kept up to date here, under Snakemake's lock
    study_file = Path(RESULTS, "study.json")
    if study_file.exists() and study_file.read_text(encoding="utf-8") != STUDY.to_json():
        written = study_file.with_suffix(".new")
        written.write_text(STUDY.to_json(), encoding="utf-8")
        written.replace(study_file)
    terminal.record_owner()


onsuccess:
    terminal.print_notices(Path(RESULTS, "survey", "summary.json"))
    if Path(RESULTS, "replies", ".ahead").exists():
        from valuestrata.stages import ahead

        ahead.tidy(STUDY)


onerror:
    terminal.summarise_failures(workflow.scheduler.failed, STUDY.name)
