//! Which apps a command line means: ids, names, namespaces, `all`, `/regex/`, process files.

use std::path::Path;

use super::Error;
use super::definition;

/// The words as the daemon's targets: a process file stands for the apps in it.
pub fn resolve(words: &[String]) -> Result<Vec<String>, Error> {
    let mut targets = Vec::new();
    for word in words {
        if !definition::is_process_file(word) {
            targets.push(word.clone());
            continue;
        }
        let file = definition::load(Path::new(word))?;
        if file.apps.is_empty() {
            return Err(Error::Usage(format!("{word} has no apps")));
        }
        targets.extend(file.apps.into_iter().map(|app| app.name));
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_file_stands_for_its_apps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apps.json");
        std::fs::write(&path, r#"{"apps": [{"name": "a", "script": "sleep"}, {"name": "b", "script": "sleep"}]}"#)
            .unwrap();
        let words = ["3".to_owned(), path.to_string_lossy().into_owned(), "/^w/".to_owned()];
        assert_eq!(resolve(&words).unwrap(), ["3", "a", "b", "/^w/"]);
    }

    #[test]
    fn a_file_without_apps_or_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pools.json");
        std::fs::write(&path, r#"{"pools": []}"#).unwrap();
        let error = resolve(&[path.to_string_lossy().into_owned()]).unwrap_err();
        assert!(error.to_string().contains("no apps"), "{error}");
        assert!(resolve(&["/nowhere/apps.yaml".to_owned()]).is_err());
    }
}
